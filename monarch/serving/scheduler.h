// One thread that computes, shared fairly: whoever is ready gets one chunk in turn.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace monarch::serving {

// ready() and done() are asked under the scheduler's lock, so they take no lock that is held while
// calling the scheduler; step() runs without.
class Task {
 public:
  virtual ~Task() = default;
  virtual bool ready() = 0;
  virtual bool done() = 0;  // nothing will come any more: the scheduler forgets the task
  virtual void step() = 0;  // one chunk; throws nothing
};

class Scheduler {
 public:
  Scheduler();
  ~Scheduler();  // stop()

  // Tasks end on the scheduler's thread, where they ran, unless others still hold them.
  void add(std::shared_ptr<Task> task);
  // Something changed that ready() or done() depends on.
  void notify();
  // After the step that is running; tasks are released.
  void stop();

 private:
  void run();
  std::shared_ptr<Task> next();  // waits; null: stop

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Task>> tasks_;
  std::size_t turn_ = 0;  // whose it is
  bool stopping_ = false;
  bool news_ = false;
  std::thread thread_;
};

}  // namespace monarch::serving
