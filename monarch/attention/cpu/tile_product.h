// The one matrix product everything here is made of, in two forms, for operands that stay in cache:
//
//   rows    C[m,n] = Σ_p A[m,p] B[p,n]             A row-major: elements of a row are broadcast
//   columns C[m,n] = g[m] C[m,n] + Σ_p A[p,m] B[p,n]    A transposed; g may be absent, then C is
//   overwritten
//
// B's and C's rows are contiguous along n, which is what the vectors run along. A tile of C, kRows
// x kVectors vectors, stays in registers for the whole sum; at 6 x 4 vectors of AVX-512 a step
// costs 10 loads for 24 multiply-adds. n may end in a narrower vector (4 or 8 lanes): at the 52
// columns of a 480p latent that is 3.25 vectors of work instead of 4.
#pragma once

#include "monarch/attention/cpu/simd.h"

namespace monarch::attention::cpu::MONARCH_ISA {

// Accumulators that fit beside one row of B and one broadcast.
template <int kVectors>
inline constexpr int kMaxRows = (kNumRegisters - 2 - kVectors) / kVectors < 10
                                    ? (kNumRegisters - 2 - kVectors) / kVectors
                                    : 10;
inline constexpr int kMaxVectors = kNumRegisters == 32 ? 4 : 2;

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

// One tile. kTail: lanes of the last vector (0: all are full). `scale` null: C is overwritten.
template <Form kForm, int kRows, int kVectors, int kTail>
MONARCH_INLINE void multiply_tile(const float* a, std::ptrdiff_t a_stride, const float* b,
                                  std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                  int depth, const float* scale) {
  constexpr int kFull = kTail == 0 ? kVectors : kVectors - 1;
  constexpr int kLast = kTail == 0 ? 4 : kTail;
  Vec<kLanes> sums[kRows][kFull == 0 ? 1 : kFull];
  Vec<kLast> tails[kRows];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
    if (scale != nullptr) {
#pragma GCC unroll 8
      for (int v = 0; v < kFull; ++v)
        sums[m][v] = load<kLanes>(c + m * c_stride + v * kLanes) * scale[m];
      if (kTail != 0) tails[m] = load<kLast>(c + m * c_stride + kFull * kLanes) * scale[m];
    } else {
#pragma GCC unroll 8
      for (int v = 0; v < kFull; ++v) sums[m][v] = Vec<kLanes>{};
      tails[m] = Vec<kLast>{};
    }
  }
  for (int p = 0; p < depth; ++p) {
    Vec<kLanes> row[kFull == 0 ? 1 : kFull];
    Vec<kLast> row_tail{};
#pragma GCC unroll 8
    for (int v = 0; v < kFull; ++v) row[v] = load<kLanes>(b + v * kLanes);
    if (kTail != 0) row_tail = load<kLast>(b + kFull * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const float factor = kForm == Form::kRows ? a[m * a_stride] : a[m];
#pragma GCC unroll 8
      for (int v = 0; v < kFull; ++v) sums[m][v] += row[v] * factor;
      if (kTail != 0) tails[m] += row_tail * factor;
    }
    a += kForm == Form::kRows ? 1 : a_stride;
    b += b_stride;
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < kFull; ++v) store<kLanes>(c + m * c_stride + v * kLanes, sums[m][v]);
    if (kTail != 0) store<kLast>(c + m * c_stride + kFull * kLanes, tails[m]);
  }
}

// All rows of a panel kVectors wide, in tiles of nearly equal height.
template <Form kForm, int kVectors, int kTail, int kRows>
MONARCH_INLINE void multiply_rows(int rows, const float* a, std::ptrdiff_t a_stride, const float* b,
                                  std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                  int depth, const float* scale) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      multiply_tile<kForm, kRows, kVectors, kTail>(a, a_stride, b, b_stride, c, c_stride, depth,
                                                   scale);
    } else {
      multiply_rows<kForm, kVectors, kTail, kRows - 1>(rows, a, a_stride, b, b_stride, c, c_stride,
                                                       depth, scale);
    }
  }
}

template <Form kForm, int kVectors, int kTail>
__attribute__((noinline)) void multiply_panel(int rows, const float* a, std::ptrdiff_t a_stride,
                                              const float* b, std::ptrdiff_t b_stride, float* c,
                                              std::ptrdiff_t c_stride, int depth,
                                              const float* scale, Ahead* ahead) {
  constexpr int kMax = kMaxRows<kVectors>;
  const int tiles = (rows + kMax - 1) / kMax;
  for (int tile = 0; tile < tiles; ++tile) {
    const int count = (rows + tiles - 1 - tile) / tiles;
    if (ahead != nullptr) ahead->step();
    multiply_rows<kForm, kVectors, kTail, kMax>(count, a, a_stride, b, b_stride, c, c_stride, depth,
                                                scale);
    a += kForm == Form::kRows ? count * a_stride : count;
    c += count * c_stride;
    if (scale != nullptr) scale += count;
  }
}

// Columns of B and C that a product of n columns touches: up to a whole vector of 4, 8 or kLanes.
constexpr MONARCH_INLINE int padded_columns(int n) {
  const int narrow = (n + 3) / 4 * 4;
  return kLanes == 16 && narrow % 16 == 12 ? narrow + 4 : narrow;
}

template <Form kForm, int kVectors>
MONARCH_INLINE void multiply_vectors(int vectors, int tail, int rows, const float* a,
                                     std::ptrdiff_t a_stride, const float* b,
                                     std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                     int depth, const float* scale, Ahead* ahead) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) {
      multiply_vectors<kForm, kVectors - 1>(vectors, tail, rows, a, a_stride, b, b_stride, c,
                                            c_stride, depth, scale, ahead);
      return;
    }
  }
  if (kLanes > 4 && tail == 4) {
    multiply_panel<kForm, kVectors, kLanes == 4 ? 0 : 4>(rows, a, a_stride, b, b_stride, c,
                                                         c_stride, depth, scale, ahead);
  } else if (kLanes > 8 && tail == 8) {
    multiply_panel<kForm, kVectors, kLanes <= 8 ? 0 : 8>(rows, a, a_stride, b, b_stride, c,
                                                         c_stride, depth, scale, ahead);
  } else {
    multiply_panel<kForm, kVectors, 0>(rows, a, a_stride, b, b_stride, c, c_stride, depth, scale,
                                       ahead);
  }
}

// The product of any size. Rows of B and C are readable, C writable, up to padded_columns(columns).
template <Form kForm>
MONARCH_INLINE void multiply(int rows, int columns, int depth, const float* a,
                             std::ptrdiff_t a_stride, const float* b, std::ptrdiff_t b_stride,
                             float* c, std::ptrdiff_t c_stride, const float* scale = nullptr,
                             Ahead* ahead = nullptr) {
  const int padded = padded_columns(columns);
  const int tail = padded % kLanes;
  int vectors = (padded + kLanes - 1) / kLanes;
  for (int panels = (vectors + kMaxVectors - 1) / kMaxVectors; panels > 0; --panels) {
    const int count = (vectors + panels - 1) / panels;
    multiply_vectors<kForm, kMaxVectors>(count, panels == 1 ? tail : 0, rows, a, a_stride, b,
                                         b_stride, c, c_stride, depth, scale, ahead);
    b += count * kLanes;
    c += count * kLanes;
    vectors -= count;
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
