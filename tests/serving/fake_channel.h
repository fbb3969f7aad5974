// A channel that keeps what is sent, until a test reads it.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "monarch/serving/endpoint.h"

namespace monarch::serving {

class FakeChannel final : public Channel {
 public:
  bool send(std::string bytes, bool text, Clock::time_point /*due*/ = {}) override {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    bytes_ += bytes.size();
    (text ? texts_ : binaries_).push_back(std::move(bytes));
    changed_.notify_all();
    return true;
  }
  std::size_t queued_bytes() const override {
    const std::lock_guard lock(mutex_);
    return stalled_ ? bytes_ : 0;
  }
  void close() override {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // A stalled channel keeps everything in its queue.
  void stall(bool stalled) {
    const std::lock_guard lock(mutex_);
    stalled_ = stalled;
  }
  // The next text or binary message; waits for it.
  std::string text() { return take(texts_); }
  std::string binary() { return take(binaries_); }
  void wait_until_closed() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_; });
  }

 private:
  std::string take(std::deque<std::string>& queue) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !queue.empty(); });
    std::string message = std::move(queue.front());
    queue.pop_front();
    return message;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> texts_;
  std::deque<std::string> binaries_;
  std::size_t bytes_ = 0;
  bool stalled_ = false;
  bool closed_ = false;
};

}  // namespace monarch::serving
