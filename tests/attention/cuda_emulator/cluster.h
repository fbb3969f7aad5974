// Clusters of thread blocks on a CPU.
//
// Errors of the kernel are thrown as EmulationError by launch(): those of shared_memory.h, lanes of
// a warp at different operations, threads that wait for others which wait elsewhere or have
// returned, matrix products and mbarriers used wrongly. Clusters run one after another, in the
// given order or backwards: results may not depend on it. Bulk copies arrive when no thread can go
// on without one, the last first.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/attention/cuda_emulator/block.h"
#include "tests/attention/cuda_emulator/clocks.h"

namespace monarch::attention::test {

struct Grid {
  std::int64_t blocks = 1;
  int threads = 32;  // a multiple of 32
  std::size_t shared_bytes = 0;
  bool backwards = false;
  int cluster = 1;  // blocks; divides them all
};

void launch(const Grid& grid, const std::function<void()>& kernel);

// A tensor map's contents here: what cuTensorMapEncodeTiled is told, of 16-bit elements.
struct TiledTensor {
  const std::uint16_t* data = nullptr;
  std::array<std::uint32_t, 4> sizes{};   // elements, the fastest first
  std::array<std::uint32_t, 4> box{};     // elements
  std::array<std::int64_t, 3> strides{};  // elements, of axes 1, 2, 3
};

class Cluster {
 public:
  Cluster(const Grid& grid, std::int64_t index);
  void run(const std::function<void()>& kernel);

  Clocks& clocks() { return clocks_; }
  int size() const { return static_cast<int>(blocks_.size()); }
  // A block that another one works on; throws once it has returned.
  Block& block(int rank);
  std::string name_of(int actor) const;

  // All threads of all blocks.
  void barrier();
  // The box at `coordinates` to `offset` of each block in `mask`, its 128-byte rows swizzled, and
  // its bytes to their mbarriers.
  void copy_tensor(std::uint32_t offset, const TiledTensor& tensor,
                   const std::array<int, 4>& coordinates, std::uint32_t mbarrier,
                   std::uint32_t mask);

 private:
  struct Transfer {
    TiledTensor tensor;
    std::array<int, 4> coordinates{};
    std::uint32_t offset = 0;
    std::uint32_t mbarrier = 0;
    Block* to = nullptr;
    int copier = 0;
  };
  void deliver(const Transfer& transfer);

  int threads_;
  Clocks clocks_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Transfer> transfers_;
  int at_barrier_ = 0;
  Clocks::Handover handover_;
};

}  // namespace monarch::attention::test
