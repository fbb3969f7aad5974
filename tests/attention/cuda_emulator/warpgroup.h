// The matrix products (wgmma) of four warps: D [64, 8] += A [64, 16] B [16, 8], both operands out
// of shared memory, asynchronously. Operands are read, and results are there, no sooner than at the
// wait; until then the accumulators read as NaN.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "tests/attention/cuda_emulator/clocks.h"
#include "tests/attention/cuda_emulator/shared_memory.h"

namespace monarch::attention::test {

// Decoded as the hardware does: 14 bits each of start, leading and stride bytes / 16, and the
// swizzle in the two highest.
struct MatrixDescriptor {
  std::uint32_t start = 0;
  std::uint32_t leading = 0;
  std::uint32_t stride = 0;
  bool swizzled = false;
  explicit MatrixDescriptor(std::uint64_t bits);
  // Where 16 bytes begin: eight elements along K of row m, from k on; or, transposed, eight rows
  // from m on at k.
  std::uint32_t offset_of(std::uint32_t m, std::uint32_t k, bool transposed) const;
};

class Warpgroup {
 public:
  static constexpr int kThreads = 128;
  struct Product {
    std::array<float (*)[4], kThreads> c{};
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    bool transposed = false;
    bool accumulate = false;
    float (*to_float)(std::uint16_t) = nullptr;
  };

  // Threads from first_thread on; their warps' products are those of actors from first_unit on.
  Warpgroup(SharedMemory& shared, Clocks& clocks, int first_thread, int first_unit)
      : shared_(&shared), clocks_(&clocks), first_thread_(first_thread), first_unit_(first_unit) {}

  void issue(const Product& product);
  void commit();
  void wait(int in_flight);
  bool idle() const { return uncommitted_.empty() && groups_.empty(); }

 private:
  struct Group {
    std::vector<Product> products;
    std::array<Access, 4> done;
  };
  using Fragment = std::array<std::array<float, 4>, kThreads>;
  void begin_reads(const Product& product);
  void compute(const Product& product, Fragment& c) const;

  SharedMemory* shared_;
  Clocks* clocks_;
  int first_thread_;
  int first_unit_;
  std::vector<Product> uncommitted_;
  std::vector<Group> groups_;
  std::map<const void*, Fragment> accumulators_;  // by those of the first thread
};

}  // namespace monarch::attention::test
