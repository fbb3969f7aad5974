// A function with a stack of its own, which can pause in the middle and go on later.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace monarch::attention::test {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() starts `body`, which must not throw. What ran before is dropped where it
  // paused, without unwinding.
  void start(std::function<void()> body);
  // From outside: runs until the body pauses or returns.
  void resume();
  // From inside the body.
  void pause();
  bool finished() const;

 private:
  struct State;
  static void enter();
  std::unique_ptr<State> state_;
};

}  // namespace monarch::attention::test
