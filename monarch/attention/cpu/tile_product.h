// The one matrix product everything here is made of, in two forms, for operands that stay in cache:
//
//   rows    C[m,n] = Σ_p A[m,p] B[p,n]             A row-major: elements of a row are broadcast
//   columns C[m,n] = g[m] C[m,n] + Σ_p A[p,m] B[p,n]    A transposed; g may be absent, then C is
//   overwritten
//
// B's and C's rows are contiguous along n, which is what the vectors run along. A tile of C, kRows
// x kVectors vectors, stays in registers for the whole sum; at 6 x 4 vectors of AVX-512 a step
// costs 10 loads for 24 multiply-adds. n is padded to whole vectors: at the 52 columns of a 480p
// latent a narrower last vector saves no instruction, and takes 1.4 times as long because its
// factors must be broadcast once more.
#pragma once

#include "monarch/attention/cpu/simd.h"

namespace monarch::attention::cpu::MONARCH_ISA {

enum class Form { kRows, kColumns };

// Memory to bring into the second-level cache while products run, one piece after the other: a few
// lines before each tile, so that the processor never has more misses under way than it can track.
class Ahead {
 public:
  // Rows of so many bytes, `stride` bytes apart.
  MONARCH_INLINE void add(const void* row, std::ptrdiff_t stride, std::ptrdiff_t row_bytes,
                          std::ptrdiff_t rows) {
    pieces_[count_++] = {static_cast<const char*>(row), stride, row_bytes, rows};
    lines_ += rows * ((row_bytes + 63) / 64);
  }
  MONARCH_INLINE void add(const float* floats, std::ptrdiff_t count) {
    add(floats, 0, count * static_cast<std::ptrdiff_t>(sizeof(float)), 1);
  }
  // All of it within so many steps.
  MONARCH_INLINE void spread(std::ptrdiff_t steps) { lines_per_step_ = lines_ / (steps + 1) + 1; }

  MONARCH_INLINE void step() {
    for (std::ptrdiff_t line = 0; line < lines_per_step_; ++line) {
      if (current_ == count_) return;
      Piece& piece = pieces_[current_];
      __builtin_prefetch(piece.row + at_, 0, 2);
      at_ += 64;
      if (at_ < piece.row_bytes) continue;
      at_ = 0;
      piece.row += piece.stride;
      if (--piece.rows == 0) ++current_;
    }
  }

 private:
  struct Piece {
    const char* row;
    std::ptrdiff_t stride;
    std::ptrdiff_t row_bytes;
    std::ptrdiff_t rows;
  };
  Piece pieces_[8];
  int count_ = 0;
  int current_ = 0;
  std::ptrdiff_t at_ = 0;  // byte within the row
  std::ptrdiff_t lines_ = 0;
  std::ptrdiff_t lines_per_step_ = 0;
};

// Two contiguous runs of memory that products bring into the second-level cache, a line of each at
// every step of their sums: in bursts they would hold up the product's own loads. They go on where
// the product before stopped, and beyond their ends: what follows should be worth having, too.
struct Streams {
  const char* first;
  const char* second;

  MONARCH_INLINE Streams(const float* a, const float* b)
      : first(reinterpret_cast<const char*>(a)), second(reinterpret_cast<const char*>(b)) {}

  MONARCH_INLINE void step() {
    __builtin_prefetch(first, 0, 2);
    __builtin_prefetch(second, 0, 2);
    first += 64;
    second += 64;
  }
};

// Columns of B and C that a product of n columns touches: whole vectors.
constexpr MONARCH_INLINE int padded_columns(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

// The product of any size. Rows of B and C are readable, C writable, up to padded_columns(columns).
void multiply(Form form, int rows, int columns, int depth, const float* a, std::ptrdiff_t a_stride,
              const float* b, std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
              const float* scale = nullptr, Ahead* ahead = nullptr, Streams* streams = nullptr);

}  // namespace monarch::attention::cpu::MONARCH_ISA
