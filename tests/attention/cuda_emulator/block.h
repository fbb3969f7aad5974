// Thread blocks on a CPU: a fiber a thread, operations of a warp when all its lanes have arrived.
//
// Errors of the kernel are thrown as EmulationError by launch(): those of shared_memory.h, lanes of
// a warp at different operations, threads that wait for others which wait elsewhere or have
// returned. Blocks run one after another, in the given order or backwards: results may not depend
// on it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/attention/cuda_emulator/fiber.h"
#include "tests/attention/cuda_emulator/shared_memory.h"

namespace monarch::attention::test {

struct Grid {
  std::int64_t blocks = 1;
  int threads = 32;  // a multiple of 32
  std::size_t shared_bytes = 0;
  bool backwards = false;
};

void launch(const Grid& grid, const std::function<void()>& kernel);

class Block {
 public:
  Block(int num_threads, std::size_t shared_bytes);

  void run(int block_index, const std::function<void()>& kernel);

  // The block and thread whose code runs now.
  static Block& current();
  int thread() const { return running_; }
  int block_index() const { return block_index_; }

  SharedMemory& shared() { return *shared_; }
  void barrier();
  // `apply` sees what all 32 lanes brought; it runs once.
  using Lanes = std::array<void*, 32>;
  void warp_operation(const char* name, void* mine, void (*apply)(const Lanes& lanes));

  void copy_async(std::uint32_t offset, const void* source, bool valid);
  void copy_async_commit();
  void copy_async_wait(int in_flight);

 private:
  struct Copy {
    std::uint32_t offset = 0;
    std::array<std::byte, 16> bytes{};
  };
  struct Thread {
    Fiber fiber;
    const char* waits_at = nullptr;
    std::vector<Copy> uncommitted;
    std::vector<std::vector<Copy>> groups;
  };
  struct Warp {
    const char* operation = nullptr;
    int arrived = 0;
    Lanes lanes{};
  };

  void wait_at(const char* operation);
  void check_progress(bool progress) const;

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  std::size_t shared_bytes_ = 0;
  std::unique_ptr<SharedMemory> shared_;
  int block_index_ = 0;
  int running_ = -1;
  int at_barrier_ = 0;
  std::string error_;
};

}  // namespace monarch::attention::test
