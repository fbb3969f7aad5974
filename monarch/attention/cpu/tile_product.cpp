// Everything here but multiply() has internal linkage: one object holds the products of an
// instruction set.
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

// Accumulators that fit beside one row of B and one broadcast.
template <int kVectors>
inline constexpr int kMaxRows = (kNumRegisters - 2 - kVectors) / kVectors < 10
                                    ? (kNumRegisters - 2 - kVectors) / kVectors
                                    : 10;
inline constexpr int kMaxVectors = kNumRegisters == 32 ? 4 : 2;

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

template <Form kForm>
MONARCH_INLINE void multiply_any(int rows, int columns, int depth, const float* a,
                                 std::ptrdiff_t a_stride, const float* b, std::ptrdiff_t b_stride,
                                 float* c, std::ptrdiff_t c_stride, const float* scale,
                                 Ahead* ahead) {
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

}  // namespace

void multiply(Form form, int rows, int columns, int depth, const float* a, std::ptrdiff_t a_stride,
              const float* b, std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
              const float* scale, Ahead* ahead) {
  if (form == Form::kRows) {
    multiply_any<Form::kRows>(rows, columns, depth, a, a_stride, b, b_stride, c, c_stride, scale,
                              ahead);
  } else {
    multiply_any<Form::kColumns>(rows, columns, depth, a, a_stride, b, b_stride, c, c_stride, scale,
                                 ahead);
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
