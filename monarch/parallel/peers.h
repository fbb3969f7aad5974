// Signs of life of the processes that work together, kept in the store they met at: who has fallen
// silent, and what it said last.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <torch/csrc/distributed/c10d/Store.hpp>

namespace monarch::parallel {

class Peers {
 public:
  // Gives a sign of life several times within `silence`, and calls `lost` once, from a thread of
  // its own, when a rank has given none for so long, with a sentence about it. The store must be
  // this object's alone: its requests are answered one after the other.
  Peers(c10::intrusive_ptr<c10d::Store> store, std::int64_t rank, std::int64_t size,
        std::chrono::milliseconds silence, std::function<void(const std::string&)> lost);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  // What this rank leaves behind for the others' errors.
  void leave(const std::string& reason) noexcept;

  // A sentence about a rank that left or fell silent, waiting for up to `silence` for one to show;
  // empty if all seem well.
  std::string missing();

 private:
  void watch();
  std::optional<std::string> look();

  c10::intrusive_ptr<c10d::Store> store_;
  std::int64_t rank_;
  std::int64_t size_;
  std::chrono::milliseconds silence_;
  std::function<void(const std::string&)> lost_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::string found_;
  std::vector<std::int64_t> beats_;
  std::vector<std::chrono::steady_clock::time_point> heard_;
  std::thread thread_;
};

}  // namespace monarch::parallel
