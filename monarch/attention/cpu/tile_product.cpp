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

// One tile. `scale` null: C is overwritten.
template <Form kForm, bool kStreams, int kRows, int kVectors>
MONARCH_INLINE void multiply_tile(const float* a, std::ptrdiff_t a_stride, const float* b,
                                  std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                  int depth, const float* scale, Streams* streams) {
  Vec<kLanes> sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[m][v] =
          scale == nullptr ? Vec<kLanes>{} : load<kLanes>(c + m * c_stride + v * kLanes) * scale[m];
    }
  }
  Streams ahead = kStreams ? *streams : Streams(nullptr, nullptr);
  for (int p = 0; p < depth; ++p) {
    if constexpr (kStreams) ahead.step();
    Vec<kLanes> row[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) row[v] = load<kLanes>(b + v * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const float factor = kForm == Form::kRows ? a[m * a_stride] : a[m];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[m][v] += row[v] * factor;
    }
    a += kForm == Form::kRows ? 1 : a_stride;
    b += b_stride;
  }
  if constexpr (kStreams) *streams = ahead;
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store<kLanes>(c + m * c_stride + v * kLanes, sums[m][v]);
  }
}

// All rows of a panel kVectors wide, in tiles of nearly equal height.
template <Form kForm, bool kStreams, int kVectors, int kRows>
MONARCH_INLINE void multiply_rows(int rows, const float* a, std::ptrdiff_t a_stride, const float* b,
                                  std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                  int depth, const float* scale, Streams* streams) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      multiply_tile<kForm, kStreams, kRows, kVectors>(a, a_stride, b, b_stride, c, c_stride, depth,
                                                      scale, streams);
    } else {
      multiply_rows<kForm, kStreams, kVectors, kRows - 1>(rows, a, a_stride, b, b_stride, c,
                                                          c_stride, depth, scale, streams);
    }
  }
}

template <Form kForm, int kVectors>
__attribute__((noinline)) void multiply_panel(int rows, const float* a, std::ptrdiff_t a_stride,
                                              const float* b, std::ptrdiff_t b_stride, float* c,
                                              std::ptrdiff_t c_stride, int depth,
                                              const float* scale, Ahead* ahead, Streams* streams) {
  constexpr int kMax = kMaxRows<kVectors>;
  const int tiles = (rows + kMax - 1) / kMax;
  for (int tile = 0; tile < tiles; ++tile) {
    const int count = (rows + tiles - 1 - tile) / tiles;
    if (ahead != nullptr) ahead->step();
    if (streams == nullptr) {
      multiply_rows<kForm, false, kVectors, kMax>(count, a, a_stride, b, b_stride, c, c_stride,
                                                  depth, scale, nullptr);
    } else {
      multiply_rows<kForm, true, kVectors, kMax>(count, a, a_stride, b, b_stride, c, c_stride,
                                                 depth, scale, streams);
    }
    a += kForm == Form::kRows ? count * a_stride : count;
    c += count * c_stride;
    if (scale != nullptr) scale += count;
  }
}

template <Form kForm, int kVectors>
MONARCH_INLINE void multiply_vectors(int vectors, int rows, const float* a, std::ptrdiff_t a_stride,
                                     const float* b, std::ptrdiff_t b_stride, float* c,
                                     std::ptrdiff_t c_stride, int depth, const float* scale,
                                     Ahead* ahead, Streams* streams) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) {
      multiply_vectors<kForm, kVectors - 1>(vectors, rows, a, a_stride, b, b_stride, c, c_stride,
                                            depth, scale, ahead, streams);
      return;
    }
  }
  multiply_panel<kForm, kVectors>(rows, a, a_stride, b, b_stride, c, c_stride, depth, scale, ahead,
                                  streams);
}

// In panels of nearly equal width.
template <Form kForm>
MONARCH_INLINE void multiply_panels(int rows, int columns, int depth, const float* a,
                                    std::ptrdiff_t a_stride, const float* b,
                                    std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                    const float* scale, Ahead* ahead, Streams* streams) {
  int vectors = padded_columns(columns) / kLanes;
  for (int panels = (vectors + kMaxVectors - 1) / kMaxVectors; panels > 0; --panels) {
    const int count = (vectors + panels - 1) / panels;
    multiply_vectors<kForm, kMaxVectors>(count, rows, a, a_stride, b, b_stride, c, c_stride, depth,
                                         scale, ahead, streams);
    b += count * kLanes;
    c += count * kLanes;
    vectors -= count;
  }
}

}  // namespace

void multiply(Form form, int rows, int columns, int depth, const float* a, std::ptrdiff_t a_stride,
              const float* b, std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
              const float* scale, Ahead* ahead, Streams* streams) {
  if (form == Form::kRows) {
    multiply_panels<Form::kRows>(rows, columns, depth, a, a_stride, b, b_stride, c, c_stride, scale,
                                 ahead, streams);
  } else {
    multiply_panels<Form::kColumns>(rows, columns, depth, a, a_stride, b, b_stride, c, c_stride,
                                    scale, ahead, streams);
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
