// Rows of tensors in and out of the kernels' float scratch: conversion, scaling, transposition.
#pragma once

#include "monarch/attention/cpu/kernels.h"
#include "monarch/attention/cpu/simd.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

constexpr MONARCH_INLINE std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Width of a packed row of head_dim floats: whole cache lines.
constexpr MONARCH_INLINE std::int64_t packed_width(std::int64_t head_dim) {
  return round_up(head_dim, 16);
}

MONARCH_INLINE int dtype_bytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

// One row of `width` elements times `scale`, zeros after them up to `packed`.
MONARCH_INLINE void load_row(const void* base, DType dtype, std::int64_t offset, std::int64_t width,
                             std::int64_t packed, float scale, float* row) {
  if (dtype == DType::kF32) {
    const float* from = static_cast<const float*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) row[d] = from[d] * scale;
  } else if (dtype == DType::kBF16) {
    const std::uint16_t* from = static_cast<const std::uint16_t*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) {
      const std::uint32_t bits = static_cast<std::uint32_t>(from[d]) << 16;
      float value;
      __builtin_memcpy(&value, &bits, sizeof(value));
      row[d] = value * scale;
    }
  } else {
    const std::uint16_t* from = static_cast<const std::uint16_t*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) row[d] = f16_to_f32(from[d]) * scale;
  }
  for (std::int64_t d = width; d < packed; ++d) row[d] = 0.0F;
}

MONARCH_INLINE void store_row(const float* row, float scale, void* base, DType dtype,
                              std::int64_t offset, std::int64_t width) {
  if (dtype == DType::kF32) {
    float* to = static_cast<float*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) to[d] = row[d] * scale;
  } else if (dtype == DType::kBF16) {
    std::uint16_t* to = static_cast<std::uint16_t*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) {
      const float value = row[d] * scale;
      std::uint32_t bits;
      __builtin_memcpy(&bits, &value, sizeof(bits));
      const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
      to[d] = static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? (bits >> 16) | 0x40U
                                                                            : rounded);
    }
  } else {
    std::uint16_t* to = static_cast<std::uint16_t*>(base) + offset;
    for (std::int64_t d = 0; d < width; ++d) to[d] = f32_to_f16(row[d] * scale);
  }
}

// to[d, m] = from[m, d] for m < rows, zero for rows <= m < padded (a multiple of 4); width a
// multiple of 4.
MONARCH_INLINE void transpose(const float* from, std::ptrdiff_t from_stride, std::int64_t rows,
                              std::int64_t padded, std::int64_t width, float* to,
                              std::ptrdiff_t to_stride) {
  for (std::int64_t m = 0; m < padded; m += 4) {
    for (std::int64_t d = 0; d < width; d += 4) {
      Vec<4> r[4];
      for (int x = 0; x < 4; ++x)
        r[x] = m + x < rows ? load<4>(from + (m + x) * from_stride + d) : Vec<4>{};
      const Vec<4> a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
      const Vec<4> b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
      const Vec<4> c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
      const Vec<4> e = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
      store<4>(to + (d + 0) * to_stride + m, __builtin_shufflevector(a, b, 0, 1, 4, 5));
      store<4>(to + (d + 1) * to_stride + m, __builtin_shufflevector(a, b, 2, 3, 6, 7));
      store<4>(to + (d + 2) * to_stride + m, __builtin_shufflevector(c, e, 0, 1, 4, 5));
      store<4>(to + (d + 3) * to_stride + m, __builtin_shufflevector(c, e, 2, 3, 6, 7));
    }
  }
}

// Calls f with integral constants so that every vector of a row of `padded` columns
// (padded_columns) is visited once: f(column, lanes).
template <int N>
struct Lanes {
  static constexpr int value = N;
};
template <typename F>
MONARCH_INLINE void for_each_vector(std::int64_t padded, const F& f) {
  std::int64_t column = 0;
  for (; column + kLanes <= padded; column += kLanes) f(column, Lanes<kLanes>{});
  if constexpr (kLanes > 8) {
    if (column + 8 <= padded) {
      f(column, Lanes<8>{});
      column += 8;
    }
  }
  if constexpr (kLanes > 4) {
    if (column + 4 <= padded) f(column, Lanes<4>{});
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
