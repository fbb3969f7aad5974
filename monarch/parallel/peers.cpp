#include "monarch/parallel/peers.h"

#include <utility>

#include "monarch/base/error.h"

namespace monarch::parallel {
namespace {

std::string beat_key(std::int64_t rank) { return str_cat("alive/", rank); }
std::string word_key(std::int64_t rank) { return str_cat("left/", rank); }

}  // namespace

Peers::Peers(c10::intrusive_ptr<c10d::Store> store, std::int64_t rank, std::int64_t size,
             std::chrono::milliseconds silence, std::function<void(const std::string&)> lost)
    : store_(std::move(store)),
      rank_(rank),
      size_(size),
      silence_(silence),
      lost_(std::move(lost)),
      beats_(static_cast<size_t>(size), 0),
      heard_(static_cast<size_t>(size), std::chrono::steady_clock::now()),
      thread_([this] { watch(); }) {}

Peers::~Peers() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Peers::leave(const std::string& reason) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    store_->set(word_key(rank_), std::vector<std::uint8_t>(reason.begin(), reason.end()));
  } catch (...) {  // the store went first: then the others know already
  }
}

// One sign of life, and a look at everybody else's. Called with the mutex held.
std::optional<std::string> Peers::look() {
  const auto now = std::chrono::steady_clock::now();
  try {
    store_->add(beat_key(rank_), 1);
    for (std::int64_t peer = 0; peer < size_; ++peer) {
      if (peer == rank_) continue;
      if (store_->check({word_key(peer)})) {
        const std::vector<std::uint8_t> word = store_->get(word_key(peer));
        return str_cat("rank ", peer, " ended: ", std::string(word.begin(), word.end()));
      }
      const auto at = static_cast<size_t>(peer);
      const std::int64_t beat = store_->add(beat_key(peer), 0);
      if (beat != beats_[at]) {
        beats_[at] = beat;
        heard_[at] = now;
      } else if (now - heard_[at] > silence_) {
        return str_cat("rank ", peer, " has given no sign of life for ",
                       std::chrono::duration_cast<std::chrono::seconds>(now - heard_[at]).count(),
                       " s: it was killed, or its machine cannot be reached");
      }
    }
  } catch (const std::exception&) {
    return std::string(
        "the store that the ranks met at is gone: the process that keeps it (rank 0, or the "
        "launcher) ended");
  }
  return std::nullopt;
}

void Peers::watch() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (std::optional<std::string> found = look()) {
      found_ = std::move(*found);
      wake_.notify_all();
      const std::string sentence = found_;
      lock.unlock();
      lost_(sentence);
      return;
    }
    wake_.wait_for(lock, silence_ / 6, [&] { return stop_; });
  }
}

std::string Peers::missing() {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, silence_ + silence_ / 3, [&] { return stop_ || !found_.empty(); });
  // The store may be rank 0's: it stays until the others have had their look as well.
  if (rank_ == 0 && !found_.empty()) wake_.wait_for(lock, silence_ / 2, [&] { return stop_; });
  return found_;
}

}  // namespace monarch::parallel
