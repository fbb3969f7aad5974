// Rows of tensors in and out of the kernels' float scratch: conversion, scaling, transposition.
#pragma once

#include "monarch/attention/cpu/kernels.h"
#include "monarch/attention/cpu/simd.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

constexpr MONARCH_INLINE std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Width of a packed row of head_dim elements: whole cache lines, of floats or of bf16.
constexpr MONARCH_INLINE std::int64_t packed_width(std::int64_t head_dim) {
#if defined(MONARCH_BF16_KERNELS)
  return round_up(head_dim, 32);
#else
  return round_up(head_dim, 16);
#endif
}

MONARCH_INLINE int dtype_bytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

// The 16-bit conversions of monarch/base/dtype.h without branches, so that loops over a row become
// vectors: a call an element cost float16 storage a third of the speed.
MONARCH_INLINE float float_of_bits(std::uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

MONARCH_INLINE std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

MONARCH_INLINE float widen_bf16(std::uint16_t half) {
  return float_of_bits(static_cast<std::uint32_t>(half) << 16);
}

MONARCH_INLINE std::uint16_t narrow_bf16(float value) {
  const std::uint32_t bits = bits_of_float(value);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? (bits >> 16) | 0x40U
                                                                       : rounded);
}

// The exponent's bias goes from 15 to 127 by a product with 2^112, exact for subnormals too.
MONARCH_INLINE float widen_f16(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fffU;
  const std::uint32_t finite = bits_of_float(float_of_bits(magnitude << 13) * 0x1p112F);
  const std::uint32_t special = (magnitude << 13) | 0x7f800000U;
  return float_of_bits((magnitude >= 0x7c00U ? special : finite) |
                       (static_cast<std::uint32_t>(half & 0x8000U) << 16));
}

MONARCH_INLINE std::uint16_t narrow_f16(float value) {
  const std::uint32_t bits = bits_of_float(value);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  // Adding 0.5 aligns a subnormal's mantissa and rounds it.
  const std::uint32_t small = bits_of_float(float_of_bits(magnitude) + 0.5F) - 0x3f000000U;
  const std::uint32_t normal = (magnitude + 0xfffU + ((magnitude >> 13) & 1U) - 0x38000000U) >> 13;
  std::uint32_t half = magnitude < 0x38800000U ? small : normal;
  half = magnitude >= 0x477ff000U ? 0x7c00U : half;
  half = magnitude > 0x7f800000U ? 0x7e00U : half;
  return static_cast<std::uint16_t>(half | ((bits >> 16) & 0x8000U));
}

// One row of `width` elements times `scale`, zeros after them up to `packed`.
MONARCH_INLINE void load_row(const void* base, DType dtype, std::int64_t offset, std::int64_t width,
                             std::int64_t packed, float scale, float* row) {
  const std::uint16_t* half = static_cast<const std::uint16_t*>(base) + offset;
  if (dtype == DType::kF32) {
    const float* from = static_cast<const float*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) row[d] = from[d] * scale;
  } else if (dtype == DType::kBF16) {
    for (std::int64_t d = 0; d < width; ++d) row[d] = widen_bf16(half[d]) * scale;
  } else {
    for (std::int64_t d = 0; d < width; ++d) row[d] = widen_f16(half[d]) * scale;
  }
  for (std::int64_t d = width; d < packed; ++d) row[d] = 0.0F;
}

MONARCH_INLINE void store_row(const float* row, float scale, void* base, DType dtype,
                              std::int64_t offset, std::int64_t width) {
  std::uint16_t* half = static_cast<std::uint16_t*>(base) + offset;
  if (dtype == DType::kF32) {
    float* to = static_cast<float*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) to[d] = row[d] * scale;
  } else if (dtype == DType::kBF16) {
    for (std::int64_t d = 0; d < width; ++d) half[d] = narrow_bf16(row[d] * scale);
  } else {
    for (std::int64_t d = 0; d < width; ++d) half[d] = narrow_f16(row[d] * scale);
  }
}

// As store_row, past the caches where the row allows it: for results that nobody reads soon, whose
// lines would else be brought in only to be overwritten. streamed() before others may read them.
MONARCH_INLINE void stream_row(const float* row, void* base, DType dtype, std::int64_t offset,
                               std::int64_t width) {
#if defined(__AVX512F__)
  float* to = static_cast<float*>(base) + offset;
  if (dtype == DType::kF32 && width % kLanes == 0 &&
      reinterpret_cast<std::uintptr_t>(to) % 64 == 0) {
    for (std::int64_t d = 0; d < width; d += kLanes)
      _mm512_stream_ps(to + d, (__m512)load<kLanes>(row + d));
    return;
  }
#endif
  store_row(row, 1.0F, base, dtype, offset, width);
}

MONARCH_INLINE void streamed() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

MONARCH_INLINE float dot(const float* a, const float* b, std::int64_t packed) {
  Vec<4> sum{};
  for (std::int64_t d = 0; d < packed; d += 4) sum += load<4>(a + d) * load<4>(b + d);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

MONARCH_INLINE void add_row(const float* row, std::int64_t packed, float* to) {
  for (std::int64_t d = 0; d < packed; ++d) to[d] += row[d];
}

// Four floats of each of the rows m, m + 4, .. < m + N, zeros from row `rows` on.
template <int N>
MONARCH_INLINE Vec<N> load_fours(const float* from, std::ptrdiff_t stride, std::int64_t m,
                                 std::int64_t rows) {
  if constexpr (N == 4) {
    return m < rows ? load<4>(from + m * stride) : Vec<4>{};
  } else {
    return join<N / 2>(load_fours<N / 2>(from, stride, m, rows),
                       load_fours<N / 2>(from, stride, m + N / 2, rows));
  }
}

// to[d, m] = from[m, d] for m < rows, zero for rows <= m < padded (whole vectors); width a multiple
// of 4. In squares of 4 x 4, as many at once as a vector holds.
MONARCH_INLINE void transpose(const float* from, std::ptrdiff_t from_stride, std::int64_t rows,
                              std::int64_t padded, std::int64_t width, float* to,
                              std::ptrdiff_t to_stride) {
  const auto squares = [&](std::int64_t m, std::int64_t present) MONARCH_LAMBDA_INLINE {
    for (std::int64_t d = 0; d < width; d += 4) {
      Vec<kLanes> r[4];
      for (int x = 0; x < 4; ++x) r[x] = load_fours<kLanes>(from + d, from_stride, m + x, present);
      const Vec<kLanes> a = low_pairs(r[0], r[1]);
      const Vec<kLanes> b = low_pairs(r[2], r[3]);
      const Vec<kLanes> c = high_pairs(r[0], r[1]);
      const Vec<kLanes> e = high_pairs(r[2], r[3]);
      store<kLanes>(to + (d + 0) * to_stride + m, low_halves(a, b));
      store<kLanes>(to + (d + 1) * to_stride + m, high_halves(a, b));
      store<kLanes>(to + (d + 2) * to_stride + m, low_halves(c, e));
      store<kLanes>(to + (d + 3) * to_stride + m, high_halves(c, e));
    }
  };
  std::int64_t m = 0;
  for (; m + kLanes <= rows; m += kLanes) squares(m, m + kLanes);  // no row is missing
  for (; m < padded; m += kLanes) squares(m, rows);
}

// Visits every vector of a row of `padded` columns (padded_columns): f(column).
template <typename F>
MONARCH_INLINE void for_each_vector(std::int64_t padded, const F& f) {
  for (std::int64_t column = 0; column < padded; column += kLanes) f(column);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
