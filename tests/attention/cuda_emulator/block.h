// A thread block on a CPU: a fiber a thread, operations of a warp or warpgroup when all its lanes
// have arrived. Its cluster (cluster.h) runs it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/attention/cuda_emulator/fiber.h"
#include "tests/attention/cuda_emulator/mbarriers.h"
#include "tests/attention/cuda_emulator/shared_memory.h"
#include "tests/attention/cuda_emulator/warpgroup.h"

namespace monarch::attention::test {

class Cluster;

class Block {
 public:
  // Actors of a block: threads, the matrix units of its warps, the copies of its mbarriers.
  static int actors(int num_threads) { return num_threads + num_threads / 32 + Mbarriers::kMost; }
  Block(Cluster& cluster, int rank, int block_index, int num_threads, std::size_t shared_bytes);

  // The block and thread whose code runs now.
  static Block& current();
  int thread() const { return running_; }
  int actor() const { return first_actor_ + running_; }
  int block_index() const { return block_index_; }
  int rank() const { return rank_; }
  Cluster& cluster() { return cluster_; }

  void start(const std::function<void()>& kernel);
  // Runs each thread that can until it waits; whether there was one.
  bool run_once();
  bool finished() const;
  // Throws if something asynchronous outlives the threads.
  void check_end() const;
  // Who waits where; empty if nobody does.
  std::string describe_waiting() const;

  SharedMemory& shared() { return shared_; }
  Mbarriers& mbarriers() { return mbarriers_; }

  void barrier();
  // `threads` of the block; id > 0.
  void barrier(int id, int threads);
  void wait_for_mbarrier(std::uint32_t offset, std::uint32_t parity);

  // `apply` sees what all 32 lanes brought; it runs once.
  using Lanes = std::array<void*, 32>;
  void warp_operation(const char* name, void* mine, void (*apply)(const Lanes& lanes));
  void warpgroup_operation(const char* name, void* mine,
                           const std::function<void(Warpgroup&, void* const* lanes)>& apply);
  // Whether this thread has let matrix products have its registers.
  void fence_products(bool fenced);
  bool products_fenced() const { return threads_[static_cast<std::size_t>(running_)]->fenced; }

  void copy_async(std::uint32_t offset, const void* source, bool valid);
  void copy_async_commit();
  void copy_async_wait(int in_flight);

 private:
  friend class Cluster;
  struct Copy {
    std::uint32_t offset = 0;
    std::array<std::byte, 16> bytes{};
  };
  struct Thread {
    Fiber fiber;
    const char* waits_at = nullptr;
    bool at_mbarrier = false;
    std::uint32_t mbarrier = 0;
    std::uint32_t parity = 0;
    bool fenced = false;
    std::vector<Copy> uncommitted;
    std::vector<std::vector<Copy>> groups;
  };
  struct Collective {
    const char* operation = nullptr;
    int arrived = 0;
    std::array<void*, Warpgroup::kThreads> lanes{};
  };
  struct Barrier {
    int threads = 0;
    std::vector<int> arrived;
    Clocks::Handover handover;
  };

  Thread& me() { return *threads_[static_cast<std::size_t>(running_)]; }
  void wait_at(const char* operation);
  bool gather(Collective& collective, int size, const char* whole, const char* name, void* mine);
  void arrive(int id, int threads, const char* name);

  Cluster& cluster_;
  int rank_;
  int block_index_;
  int first_actor_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Collective> warps_;
  std::vector<Collective> groups_;
  SharedMemory shared_;
  Mbarriers mbarriers_;
  std::vector<Warpgroup> warpgroups_;
  std::map<int, Barrier> barriers_;
  int running_ = -1;
  std::string error_;
};

}  // namespace monarch::attention::test
