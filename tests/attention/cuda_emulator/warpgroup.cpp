#include "tests/attention/cuda_emulator/warpgroup.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace monarch::attention::test {
namespace {

constexpr std::uint32_t kRows = 64;
constexpr std::uint32_t kDepth = 16;
constexpr std::uint32_t kCols = 8;

// Calls visit(m, k) for the pieces of 16 bytes of rows [first, first + rows).
template <typename Visit>
void for_pieces(std::uint32_t first, std::uint32_t rows, bool transposed, const Visit& visit) {
  for (std::uint32_t m = first; m < first + rows; m += transposed ? 8 : 1) {
    for (std::uint32_t k = 0; k < kDepth; k += transposed ? 1 : 8) visit(m, k);
  }
}

}  // namespace

MatrixDescriptor::MatrixDescriptor(std::uint64_t bits)
    : start(static_cast<std::uint32_t>(bits & 0x3fff) << 4),
      leading(static_cast<std::uint32_t>(bits >> 16 & 0x3fff) << 4),
      stride(static_cast<std::uint32_t>(bits >> 32 & 0x3fff) << 4),
      swizzled(bits >> 62 == 1) {
  if (bits >> 62 > 1 || (bits >> 49 & 7) != 0) {
    throw EmulationError("a matrix descriptor is neither plain nor of 128-byte swizzle at base 0");
  }
}

std::uint32_t MatrixDescriptor::offset_of(std::uint32_t m, std::uint32_t k, bool transposed) const {
  if (!swizzled) {
    return start + m / 8 * stride + k / 8 * leading + (transposed ? k % 8 : m % 8) * 16;
  }
  const std::uint32_t linear =
      transposed ? start + m / 64 * leading + k / 8 * stride + k % 8 * 128 + m % 64 * 2
                 : start + m / 8 * stride + m % 8 * 128 + k * 2;
  return linear ^ (linear >> 7 & 7) << 4;
}

void Warpgroup::begin_reads(const Product& product) {
  const MatrixDescriptor a(product.a);
  const MatrixDescriptor b(product.b);
  for (int warp = 0; warp < 4; ++warp) {
    const auto read = [&](std::uint32_t offset) {
      shared_->begin_bulk_read(first_thread_ + 32 * warp, first_unit_ + warp, offset, 16);
    };
    for_pieces(static_cast<std::uint32_t>(16 * warp), 16, product.transposed,
               [&](auto m, auto k) { read(a.offset_of(m, k, product.transposed)); });
    for_pieces(0, kCols, product.transposed,
               [&](auto n, auto k) { read(b.offset_of(n, k, product.transposed)); });
  }
}

void Warpgroup::issue(const Product& product) {
  begin_reads(product);
  const auto [at, fresh] = accumulators_.try_emplace(product.c[0]);
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    if (fresh) std::ranges::copy(*product.c[thread], at->second[thread].begin());
    std::ranges::fill(*product.c[thread], std::nanf(""));
  }
  uncommitted_.push_back(product);
}

void Warpgroup::commit() {
  Group group{std::exchange(uncommitted_, {}), {}};
  for (int warp = 0; warp < 4; ++warp) {
    group.done[static_cast<std::size_t>(warp)] = clocks_->now(first_unit_ + warp);
    clocks_->tick(first_unit_ + warp);
  }
  groups_.push_back(std::move(group));
}

void Warpgroup::wait(int in_flight) {
  while (static_cast<int>(groups_.size()) > in_flight) {
    const Group group = std::move(groups_.front());
    groups_.erase(groups_.begin());
    for (const Product& product : group.products) {
      compute(product, accumulators_.at(product.c[0]));
    }
    for (int thread = 0; thread < kThreads; ++thread) {
      clocks_->acquire(first_thread_ + thread, group.done[static_cast<std::size_t>(thread / 32)]);
    }
    for (const Product& product : group.products) {
      const auto same = [&](const Product& other) { return other.c[0] == product.c[0]; };
      const bool goes_on = std::ranges::any_of(uncommitted_, same) ||
                           std::ranges::any_of(groups_, [&](const Group& later) {
                             return std::ranges::any_of(later.products, same);
                           });
      const auto at = accumulators_.find(product.c[0]);
      if (goes_on || at == accumulators_.end()) continue;
      for (std::size_t thread = 0; thread < kThreads; ++thread) {
        std::ranges::copy(at->second[thread], *product.c[thread]);
      }
      accumulators_.erase(at);
    }
  }
}

// As with mma.sync, warp w has rows 16 w on: row 16 w + g (+ 8), columns 2 t and 2 t + 1.
void Warpgroup::compute(const Product& product, Fragment& c) const {
  std::array<std::array<float, kDepth>, kRows> a;
  std::array<std::array<float, kDepth>, kCols> b;
  const auto load = [&](const MatrixDescriptor& descriptor, auto& matrix) {
    for_pieces(0, static_cast<std::uint32_t>(matrix.size()), product.transposed,
               [&](std::uint32_t m, std::uint32_t k) {
                 std::array<std::uint16_t, 8> piece;
                 shared_->end_bulk_read(first_thread_,
                                        descriptor.offset_of(m, k, product.transposed),
                                        piece.data(), 16);
                 for (std::uint32_t n = 0; n < 8; ++n) {
                   matrix[product.transposed ? m + n : m][product.transposed ? k : k + n] =
                       product.to_float(piece[n]);
                 }
               });
  };
  load(MatrixDescriptor(product.a), a);
  load(MatrixDescriptor(product.b), b);
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    for (std::size_t entry = 0; entry < 4; ++entry) {
      const std::size_t row = thread / 32 * 16 + thread % 32 / 4 + entry / 2 * 8;
      const std::size_t col = thread % 4 * 2 + entry % 2;
      float sum = product.accumulate ? c[thread][entry] : 0;
      for (std::size_t k = 0; k < kDepth; ++k) sum += a[row][k] * b[col][k];
      c[thread][entry] = sum;
    }
  }
}

}  // namespace monarch::attention::test
