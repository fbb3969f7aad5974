#include "tests/attention/cuda_emulator/block.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "monarch/base/error.h"
#include "tests/attention/cuda_emulator/cluster.h"

namespace monarch::attention::test {
namespace {

thread_local Block* current_block = nullptr;

std::function<std::string(int)> names_of(const Cluster& cluster) {
  return [&cluster](int actor) { return cluster.name_of(actor); };
}

}  // namespace

Block::Block(Cluster& cluster, int rank, int block_index, int num_threads, std::size_t shared_bytes)
    : cluster_(cluster),
      rank_(rank),
      block_index_(block_index),
      first_actor_(rank * actors(num_threads)),
      warps_(static_cast<std::size_t>(num_threads / 32)),
      groups_(static_cast<std::size_t>(num_threads / Warpgroup::kThreads)),
      shared_(shared_bytes, cluster.clocks(), names_of(cluster)),
      mbarriers_(cluster.clocks(), first_actor_ + num_threads + num_threads / 32,
                 names_of(cluster)) {
  for (int thread = 0; thread < num_threads; ++thread) {
    threads_.push_back(std::make_unique<Thread>());
  }
  for (int group = 0; group < num_threads / Warpgroup::kThreads; ++group) {
    warpgroups_.emplace_back(shared_, cluster.clocks(), first_actor_ + group * Warpgroup::kThreads,
                             first_actor_ + num_threads + 4 * group);
  }
}

Block& Block::current() { return *current_block; }

void Block::start(const std::function<void()>& kernel) {
  for (auto& thread : threads_) {
    thread->fiber.start([this, &kernel] {
      try {
        kernel();
      } catch (const std::exception& error) {
        error_ = error.what();
      }
    });
  }
}

bool Block::run_once() {
  current_block = this;
  bool progress = false;
  for (running_ = 0; running_ < static_cast<int>(threads_.size()); ++running_) {
    Thread& thread = me();
    if (thread.fiber.finished()) continue;
    if (thread.at_mbarrier && mbarriers_.ended(thread.mbarrier, thread.parity)) {
      thread.at_mbarrier = false;
      thread.waits_at = nullptr;
    }
    if (thread.waits_at != nullptr) continue;
    thread.fiber.resume();
    progress = true;
    if (!error_.empty()) throw EmulationError(str_cat("block ", block_index_, ": ", error_));
  }
  return progress;
}

bool Block::finished() const {
  return std::ranges::all_of(threads_, [](const auto& t) { return t->fiber.finished(); });
}

void Block::check_end() const {
  for (std::size_t thread = 0; thread < threads_.size(); ++thread) {
    const Thread& one = *threads_[thread];
    if (!one.uncommitted.empty() ||
        std::ranges::any_of(one.groups, [](const auto& group) { return !group.empty(); })) {
      throw EmulationError(str_cat("block ", block_index_, ": thread ", thread,
                                   " returned with asynchronous copies in flight"));
    }
  }
  if (!std::ranges::all_of(warpgroups_, [](const Warpgroup& group) { return group.idle(); })) {
    throw EmulationError(
        str_cat("block ", block_index_, " returned with matrix products in flight"));
  }
}

std::string Block::describe_waiting() const {
  std::string waiting;
  std::string_view last;
  for (std::size_t thread = 0; thread < threads_.size(); ++thread) {
    const char* at = threads_[thread]->waits_at;
    const std::string_view now = at == nullptr ? "its end" : at;
    if (now != last) waiting += str_cat(last.empty() ? "" : ", ", "from ", thread, " on at ", now);
    last = now;
  }
  return waiting + mbarriers_.describe_unfinished();
}

void Block::wait_at(const char* operation) {
  me().waits_at = operation;
  me().fiber.pause();
}

void Block::barrier() { arrive(0, static_cast<int>(threads_.size()), "barrier"); }
void Block::barrier(int id, int threads) { arrive(id, threads, "barrier of some"); }

void Block::arrive(int id, int threads, const char* name) {
  Barrier& barrier = barriers_[id];
  if (barrier.arrived.empty()) barrier.threads = threads;
  if (barrier.threads != threads) {
    throw EmulationError(str_cat("thread ", running_, " brings ", threads, " threads to barrier ",
                                 id, " where others brought ", barrier.threads));
  }
  cluster_.clocks().release(actor(), barrier.handover);
  barrier.arrived.push_back(running_);
  if (static_cast<int>(barrier.arrived.size()) < threads) return wait_at(name);
  const Barrier full = std::exchange(barrier, {});
  const auto seen = std::make_shared<const Clocks::Seen>(full.handover.seen);
  for (const int thread : full.arrived) {
    cluster_.clocks().acquire(first_actor_ + thread, seen);
    threads_[static_cast<std::size_t>(thread)]->waits_at = nullptr;
  }
}

void Block::wait_for_mbarrier(std::uint32_t offset, std::uint32_t parity) {
  while (!mbarriers_.acquire(actor(), offset, parity)) {
    me().at_mbarrier = true;
    me().mbarrier = offset;
    me().parity = parity;
    wait_at("mbarrier_wait");
  }
}

// True for the last of `size` threads.
bool Block::gather(Collective& collective, int size, const char* whole, const char* name,
                   void* mine) {
  if (collective.arrived == 0) collective.operation = name;
  if (std::string_view(collective.operation) != name) {
    throw EmulationError(str_cat("thread ", running_, " is at ", name, " while other lanes of its ",
                                 whole, " are at ", collective.operation));
  }
  collective.lanes[static_cast<std::size_t>(running_ % size)] = mine;
  if (++collective.arrived == size) {
    collective.arrived = 0;
    return true;
  }
  wait_at(name);
  return false;
}

void Block::warp_operation(const char* name, void* mine, void (*apply)(const Lanes& lanes)) {
  const auto index = static_cast<std::size_t>(running_ / 32);
  Collective& warp = warps_[index];
  if (!gather(warp, 32, "warp", name, mine)) return;
  Lanes lanes;
  std::copy_n(warp.lanes.begin(), 32, lanes.begin());
  apply(lanes);
  for (std::size_t lane = 0; lane < 32; ++lane) threads_[index * 32 + lane]->waits_at = nullptr;
}

void Block::warpgroup_operation(const char* name, void* mine,
                                const std::function<void(Warpgroup&, void* const* lanes)>& apply) {
  constexpr std::size_t kSize = Warpgroup::kThreads;
  const std::size_t index = static_cast<std::size_t>(running_) / kSize;
  if (index >= groups_.size()) {
    throw EmulationError(str_cat("thread ", running_, " is at ", name, " without a warpgroup"));
  }
  if (!gather(groups_[index], static_cast<int>(kSize), "warpgroup", name, mine)) return;
  apply(warpgroups_[index], groups_[index].lanes.data());
  for (std::size_t lane = 0; lane < kSize; ++lane) {
    threads_[index * kSize + lane]->waits_at = nullptr;
  }
}

void Block::fence_products(bool fenced) { me().fenced = fenced; }

void Block::copy_async(std::uint32_t offset, const void* source, bool valid) {
  Copy copy{.offset = offset};
  if (valid) {
    MONARCH_CHECK(reinterpret_cast<std::uintptr_t>(source) % 16 == 0, "thread ", running_,
                  " copies 16 bytes from a misaligned address");
    std::memcpy(copy.bytes.data(), source, 16);
  }
  shared_.begin_copy(actor(), offset, 16);
  me().uncommitted.push_back(copy);
}

void Block::copy_async_commit() { me().groups.push_back(std::exchange(me().uncommitted, {})); }

// As late as the wait allows: what may stay in flight does.
void Block::copy_async_wait(int in_flight) {
  auto& groups = me().groups;
  while (static_cast<int>(groups.size()) > in_flight) {
    for (const Copy& copy : groups.front()) {
      shared_.end_copy(actor(), copy.offset, copy.bytes.data(), 16);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace monarch::attention::test
