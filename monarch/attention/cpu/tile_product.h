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

// Rows of memory to bring into the second-level cache while products run: a few lines before each
// tile, so that the processor never has more misses under way than it can track.
struct Ahead {
  const char* row = nullptr;
  const char* second = nullptr;   // where to go on when the rows of the first are done
  std::ptrdiff_t row_stride = 0;  // bytes
  std::ptrdiff_t second_stride = 0;
  std::ptrdiff_t row_bytes = 0;
  std::ptrdiff_t rows = 0;
  std::ptrdiff_t second_rows = 0;
  std::ptrdiff_t at = 0;  // byte within the row
  int lines_per_step = 0;

  MONARCH_INLINE void step() {
    for (int line = 0; line < lines_per_step; ++line) {
      if (rows == 0) {
        if (second_rows == 0) return;
        row = second;
        row_stride = second_stride;
        rows = second_rows;
        second_rows = 0;
      }
      __builtin_prefetch(row + at, 0, 2);
      at += 64;
      if (at >= row_bytes) {
        at = 0;
        row += row_stride;
        --rows;
      }
    }
  }
};

// Columns of B and C that a product of n columns touches: whole vectors.
constexpr MONARCH_INLINE int padded_columns(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

// The product of any size. Rows of B and C are readable, C writable, up to padded_columns(columns).
void multiply(Form form, int rows, int columns, int depth, const float* a, std::ptrdiff_t a_stride,
              const float* b, std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
              const float* scale = nullptr, Ahead* ahead = nullptr);

}  // namespace monarch::attention::cpu::MONARCH_ISA
