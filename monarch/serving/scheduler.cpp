#include "monarch/serving/scheduler.h"

#include <algorithm>

namespace monarch::serving {

Scheduler::Scheduler() : thread_([this] { run(); }) {}

Scheduler::~Scheduler() { stop(); }

void Scheduler::add(std::shared_ptr<Task> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    news_ = true;
  }
  changed_.notify_one();
}

void Scheduler::notify() {
  {
    const std::lock_guard lock(mutex_);
    news_ = true;
  }
  changed_.notify_one();
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<Task> Scheduler::next() {
  std::vector<std::shared_ptr<Task>> finished;  // end after the lock is gone
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    news_ = false;
    for (std::size_t i = 0; i < tasks_.size();) {
      if (!tasks_[i]->done()) {
        ++i;
        continue;
      }
      finished.push_back(std::move(tasks_[i]));
      tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(i));
      if (turn_ > i) --turn_;
    }
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      const std::size_t candidate = (turn_ + i) % tasks_.size();
      if (!tasks_[candidate]->ready()) continue;
      turn_ = candidate + 1;
      return tasks_[candidate];
    }
    if (!finished.empty()) {
      lock.unlock();
      finished.clear();
      lock.lock();
      continue;
    }
    changed_.wait(lock, [&] { return stopping_ || news_; });
  }
  return nullptr;
}

void Scheduler::run() {
  while (const std::shared_ptr<Task> task = next()) task->step();
  std::vector<std::shared_ptr<Task>> released;
  const std::lock_guard lock(mutex_);
  released.swap(tasks_);
}

}  // namespace monarch::serving
