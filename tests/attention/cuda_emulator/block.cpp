#include "tests/attention/cuda_emulator/block.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::attention::test {
namespace {

thread_local Block* current_block = nullptr;

}  // namespace

void launch(const Grid& grid, const std::function<void()>& kernel) {
  Block block(grid.threads, grid.shared_bytes);
  for (std::int64_t index = 0; index < grid.blocks; ++index) {
    block.run(static_cast<int>(grid.backwards ? grid.blocks - 1 - index : index), kernel);
  }
}

Block::Block(int num_threads, std::size_t shared_bytes)
    : warps_(static_cast<std::size_t>(num_threads / 32)), shared_bytes_(shared_bytes) {
  MONARCH_CHECK(num_threads > 0 && num_threads % 32 == 0, "a block of ", num_threads,
                " threads; the emulator takes multiples of 32");
  for (int thread = 0; thread < num_threads; ++thread) {
    threads_.push_back(std::make_unique<Thread>());
  }
}

Block& Block::current() { return *current_block; }

void Block::run(int block_index, const std::function<void()>& kernel) {
  block_index_ = block_index;
  shared_ = std::make_unique<SharedMemory>(shared_bytes_);
  error_.clear();
  at_barrier_ = 0;
  warps_.assign(warps_.size(), Warp{});
  for (auto& thread : threads_) {
    thread->waits_at = nullptr;
    thread->uncommitted.clear();
    thread->groups.clear();
    thread->fiber.start([this, &kernel] {
      try {
        kernel();
      } catch (const std::exception& error) {
        error_ = error.what();
      }
    });
  }
  current_block = this;
  const auto all_finished = [&] {
    return std::ranges::all_of(threads_, [](const auto& t) { return t->fiber.finished(); });
  };
  while (!all_finished()) {
    bool progress = false;
    for (running_ = 0; running_ < static_cast<int>(threads_.size()); ++running_) {
      Thread& thread = *threads_[static_cast<std::size_t>(running_)];
      if (thread.fiber.finished() || thread.waits_at != nullptr) continue;
      thread.fiber.resume();
      progress = true;
      if (!error_.empty()) throw EmulationError(str_cat("block ", block_index_, ": ", error_));
    }
    check_progress(progress);
  }
  for (std::size_t thread = 0; thread < threads_.size(); ++thread) {
    const Thread& me = *threads_[thread];
    if (!me.uncommitted.empty() ||
        std::ranges::any_of(me.groups, [](const auto& group) { return !group.empty(); })) {
      throw EmulationError(str_cat("block ", block_index_, ": thread ", thread,
                                   " returned with asynchronous copies in flight"));
    }
  }
}

// Nobody can run: names who waits where.
void Block::check_progress(bool progress) const {
  if (progress) return;
  std::string waiting;
  std::string_view last;
  for (std::size_t thread = 0; thread < threads_.size(); ++thread) {
    const char* at = threads_[thread]->waits_at;
    const std::string_view now = at == nullptr ? "its end" : at;
    if (now != last) waiting += str_cat(last.empty() ? "" : ", ", "from ", thread, " on at ", now);
    last = now;
  }
  throw EmulationError(str_cat("block ", block_index_, ": threads wait for each other: ", waiting));
}

void Block::wait_at(const char* operation) {
  Thread& me = *threads_[static_cast<std::size_t>(running_)];
  me.waits_at = operation;
  me.fiber.pause();
}

void Block::barrier() {
  if (++at_barrier_ < static_cast<int>(threads_.size())) {
    wait_at("barrier");
    return;
  }
  at_barrier_ = 0;
  shared_->begin_epoch();
  for (auto& thread : threads_) thread->waits_at = nullptr;
}

void Block::warp_operation(const char* name, void* mine, void (*apply)(const Lanes& lanes)) {
  const auto index = static_cast<std::size_t>(running_ / 32);
  Warp& warp = warps_[index];
  if (warp.arrived == 0) warp.operation = name;
  if (std::string_view(warp.operation) != name) {
    throw EmulationError(str_cat("thread ", running_, " is at ", name,
                                 " while other lanes of its warp are at ", warp.operation));
  }
  warp.lanes[static_cast<std::size_t>(running_ % 32)] = mine;
  if (++warp.arrived < 32) {
    wait_at(name);
    return;
  }
  warp.arrived = 0;
  apply(warp.lanes);
  for (std::size_t lane = 0; lane < 32; ++lane) threads_[index * 32 + lane]->waits_at = nullptr;
}

void Block::copy_async(std::uint32_t offset, const void* source, bool valid) {
  Copy copy{.offset = offset};
  if (valid) {
    MONARCH_CHECK(reinterpret_cast<std::uintptr_t>(source) % 16 == 0, "thread ", running_,
                  " copies 16 bytes from a misaligned address");
    std::memcpy(copy.bytes.data(), source, 16);
  }
  shared_->begin_copy(running_, offset, 16);
  threads_[static_cast<std::size_t>(running_)]->uncommitted.push_back(copy);
}

void Block::copy_async_commit() {
  Thread& me = *threads_[static_cast<std::size_t>(running_)];
  me.groups.push_back(std::exchange(me.uncommitted, {}));
}

// As late as the wait allows: what may stay in flight does.
void Block::copy_async_wait(int in_flight) {
  auto& groups = threads_[static_cast<std::size_t>(running_)]->groups;
  while (static_cast<int>(groups.size()) > in_flight) {
    for (const Copy& copy : groups.front()) {
      shared_->end_copy(running_, copy.offset, copy.bytes.data(), 16);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace monarch::attention::test
