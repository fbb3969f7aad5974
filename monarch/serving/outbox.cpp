#include "monarch/serving/outbox.h"

namespace monarch::serving {

Outbox::Outbox(std::size_t max_bytes, std::function<void()> wake)
    : max_bytes_(max_bytes), wake_(std::move(wake)) {}

bool Outbox::send(std::string bytes, bool text, Clock::time_point due) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kOpen) return false;
  if (bytes_ + bytes.size() > max_bytes_) {
    state_ = State::kOverflow;
    wake_();
    return false;
  }
  bytes_ += bytes.size();
  messages_.push_back({std::move(bytes), text, due});
  wake_();
  return true;
}

std::size_t Outbox::queued_bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void Outbox::close() {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  wake_();
}

Outbox::State Outbox::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

const Outbox::Message* Outbox::front() const {
  const std::lock_guard lock(mutex_);
  return messages_.empty() ? nullptr : &messages_.front();  // a deque keeps it in place
}

void Outbox::pop() {
  const std::lock_guard lock(mutex_);
  bytes_ -= messages_.front().bytes.size();
  messages_.pop_front();
}

void Outbox::detach() {
  const std::lock_guard lock(mutex_);
  state_ = State::kClosed;
  wake_ = [] {};
  messages_.clear();
  bytes_ = 0;
}

}  // namespace monarch::serving
