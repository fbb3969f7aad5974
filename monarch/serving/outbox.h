// What waits to be sent to one viewer, bounded.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "monarch/serving/endpoint.h"

namespace monarch::serving {

class Outbox final : public Channel {
 public:
  struct Message {
    std::string bytes;
    bool text = false;
    Clock::time_point due = {};
  };
  enum class State {
    kOpen,
    kClosing,   // ends when the queue is sent
    kOverflow,  // the viewer took too little: ends now
    kClosed,
  };

  // `wake` is called (under a lock, so it must not call back) whenever there is something to do.
  Outbox(std::size_t max_bytes, std::function<void()> wake);

  bool send(std::string bytes, bool text, Clock::time_point due = {}) override;
  std::size_t queued_bytes() const override;
  void close() override;

  State state() const;
  // The next message; null if there is none. Stays valid until pop() or detach(), both of which
  // the transport calls, as this.
  const Message* front() const;
  void pop();
  // The connection is gone: frees the queue and calls `wake` no more.
  void detach();

 private:
  const std::size_t max_bytes_;
  mutable std::mutex mutex_;
  std::function<void()> wake_;
  std::deque<Message> messages_;
  std::size_t bytes_ = 0;
  State state_ = State::kOpen;
};

}  // namespace monarch::serving
