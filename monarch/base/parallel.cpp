#include "monarch/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace monarch {
namespace {

// One parallel_for: lives on its caller's stack until every helper has left it.
struct Job {
  const std::function<void(std::int64_t, int)>* body = nullptr;
  std::int64_t num_tasks = 0;
  std::atomic<std::int64_t> next{0};
  int wanted = 0;   // helpers still to come; guarded by the pool's mutex, as are the next two
  int joined = 0;   // helpers that came: their thread indices are 1..joined
  int running = 0;  // of those, not yet gone
  std::exception_ptr error;

  void run(int thread) {
    while (true) {
      const std::int64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= num_tasks) return;
      (*body)(task, thread);
    }
  }
};

class Pool {
 public:
  // Never destroyed: workers may outlive static destruction, and they hold nothing that needs it.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  void run(int num_threads, std::int64_t num_tasks,
           const std::function<void(std::int64_t, int)>& body) {
    Job job;
    job.body = &body;
    job.num_tasks = num_tasks;
    job.wanted = num_threads - 1;
    {
      const std::lock_guard lock(mutex_);
      for (; num_workers_ < num_threads - 1; ++num_workers_)
        std::thread([this] { work(); }).detach();
      jobs_.push_back(&job);
    }
    for (int helper = 1; helper < num_threads; ++helper) wake_.notify_one();
    run_guarded(job, 0);
    std::unique_lock lock(mutex_);
    std::erase(jobs_, &job);
    done_.wait(lock, [&] { return job.running == 0; });
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  void run_guarded(Job& job, int thread) {
    try {
      job.run(thread);
    } catch (...) {
      job.next.store(job.num_tasks, std::memory_order_relaxed);
      const std::lock_guard lock(mutex_);
      if (!job.error) job.error = std::current_exception();
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return !jobs_.empty(); });
      Job& job = *jobs_.front();
      const int thread = ++job.joined;
      ++job.running;
      if (--job.wanted == 0) jobs_.pop_front();
      lock.unlock();
      run_guarded(job, thread);
      lock.lock();
      if (--job.running == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::deque<Job*> jobs_;
  int num_workers_ = 0;
};

}  // namespace

void parallel_for(int num_threads, std::int64_t num_tasks,
                  const std::function<void(std::int64_t task, int thread)>& body) {
  num_threads = static_cast<int>(
      std::clamp<std::int64_t>(num_threads, 1, std::max<std::int64_t>(num_tasks, 1)));
  if (num_threads == 1) {
    for (std::int64_t task = 0; task < num_tasks; ++task) body(task, 0);
    return;
  }
  Pool::instance().run(num_threads, num_tasks, body);
}

}  // namespace monarch
