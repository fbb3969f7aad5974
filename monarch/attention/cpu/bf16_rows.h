// Rows of bf16 into the layouts of bf16_product.h: copies, pairs of rows side by side,
// transpositions of 32-bit words, and floats rounded.
#pragma once

#include "monarch/attention/cpu/bf16_product.h"
#include "monarch/attention/cpu/rows.h"

namespace monarch::attention::cpu::MONARCH_ISA {

// 32 halves from `from`, zeros beyond the first `count`; nothing beyond is read.
MONARCH_INLINE __m512i load_halves(const Half* from, std::int64_t count) {
  const __mmask32 mask = count >= 32 ? ~__mmask32{0} : count <= 0 ? 0 : (__mmask32{1} << count) - 1;
  return _mm512_maskz_loadu_epi16(mask, from);
}

// 32 floats, rounded to the nearest even.
MONARCH_INLINE __m512i round_to_halves(Vec<16> first, Vec<16> second) {
  return (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

// Words of which the low halves are `even`, the high halves `odd`.
MONARCH_INLINE __m512i side_by_side(Vec<16> even, Vec<16> odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, round_to_halves(even, odd));
}

// The same of 32 halves each: words of the first 16 columns to `to`, of the others behind them.
MONARCH_INLINE void store_side_by_side(__m512i even, __m512i odd, Word* to) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  _mm512_storeu_si512(to, _mm512_permutex2var_epi16(even, low, odd));
  _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(even, high, odd));
}

// Rows of bf16 a stride apart.
struct Rows {
  const Half* first = nullptr;  // null: there are none
  std::int64_t stride = 0;
  MONARCH_INLINE const Half* operator()(std::int64_t u) const { return first + u * stride; }
};

// Brings columns d .. d + 31 of a row into the outer cache.
MONARCH_INLINE auto fetch(const Rows& rows, std::int64_t d) {
  return [rows, d](std::int64_t u) MONARCH_LAMBDA_INLINE {
    if (rows.first != nullptr) __builtin_prefetch(rows(u) + d, 0, 2);
  };
}

// Rows of head_dim halves, found by row_of(u), as they are: [count, width], zeros after head_dim.
template <typename RowOf>
MONARCH_INLINE void copy_rows(const RowOf& row_of, std::int64_t count, std::int64_t head_dim,
                              std::int64_t width, Half* rows) {
  for (std::int64_t u = 0; u < count; ++u) {
    const Half* from = row_of(u);
    for (std::int64_t d = 0; d < width; d += 32)
      _mm512_storeu_si512(rows + u * width + d, load_halves(from + d, head_dim - d));
  }
}

// 32 columns of rows found by row_of(u), of which the first `columns` are there, in pairs:
// [depth/2, 32], zeros beyond `count` up to a depth that is a multiple of kStrip. ahead(u) is
// called for every row: to bring in what comes later.
template <typename RowOf, typename Ahead>
MONARCH_INLINE void pack_strip(const RowOf& row_of, std::int64_t count, std::int64_t columns,
                               Word* pairs, const Ahead& ahead) {
  std::int64_t u = 0;
  for (; u + 1 < count; u += 2) {
    store_side_by_side(load_halves(row_of(u), columns), load_halves(row_of(u + 1), columns),
                       pairs + u * 16);
    ahead(u);
    ahead(u + 1);
  }
  for (; u < round_up(count, kStrip); u += 2) {
    store_side_by_side(u < count ? load_halves(row_of(u), columns) : _mm512_setzero_si512(),
                       _mm512_setzero_si512(), pairs + u * 16);
    if (u < count) ahead(u);
  }
}

// Rows found by row_of(u) of head_dim halves: as they are into `rows` [count, width], zeros after
// head_dim (null: not wanted), and in strips of pairs (null: not wanted), `strip_words` apart, each
// as pack_strip() makes it.
template <typename RowOf, typename Ahead>
MONARCH_INLINE void pack_rows(const RowOf& row_of, std::int64_t count, std::int64_t head_dim,
                              std::int64_t width, Half* rows, Word* strips,
                              std::ptrdiff_t strip_words, const Ahead& ahead) {
  for (std::int64_t u = 0; u < round_up(count, kStrip); u += 2) {
    const Half* even = u < count ? row_of(u) : nullptr;
    const Half* odd = u + 1 < count ? row_of(u + 1) : nullptr;
    for (std::int64_t d = 0; d < width; d += kStrip) {
      const __m512i first =
          even != nullptr ? load_halves(even + d, head_dim - d) : _mm512_setzero_si512();
      const __m512i second =
          odd != nullptr ? load_halves(odd + d, head_dim - d) : _mm512_setzero_si512();
      if (rows != nullptr && even != nullptr) _mm512_storeu_si512(rows + u * width + d, first);
      if (rows != nullptr && odd != nullptr)
        _mm512_storeu_si512(rows + (u + 1) * width + d, second);
      if (strips != nullptr)
        store_side_by_side(first, second, strips + d / kStrip * strip_words + u * 16);
    }
    if (even != nullptr) ahead(u);
    if (odd != nullptr) ahead(u + 1);
  }
}

// to[c, r] = from[r, c] of 16 x 16 words. A vector gathers the same four columns of rows i, i + 4,
// i + 8, i + 12, so what is left are transpositions of 4 x 4 within its quarters.
MONARCH_INLINE void transpose_tile(const Word* from, std::ptrdiff_t from_stride, Word* to,
                                   std::ptrdiff_t to_stride) {
  using Words __attribute__((vector_size(64))) = std::int32_t;
  using Doubles __attribute__((vector_size(64))) = std::int64_t;
#pragma GCC unroll 4
  for (int column = 0; column < 16; column += 4) {
    Words r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const auto part = [&](int quarter) MONARCH_LAMBDA_INLINE {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(from + (4 * quarter + i) * from_stride + column));
      };
      __m512i rows = _mm512_maskz_broadcast_i32x4(0xffff, part(0));
      rows = _mm512_mask_broadcast_i32x4(rows, 0x00f0, part(1));
      rows = _mm512_mask_broadcast_i32x4(rows, 0x0f00, part(2));
      rows = _mm512_mask_broadcast_i32x4(rows, 0xf000, part(3));
      r[i] = (Words)rows;
    }
    const auto low = [](Words a, Words b) MONARCH_LAMBDA_INLINE {
      return (Doubles)__builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12,
                                              28, 13, 29);
    };
    const auto high = [](Words a, Words b) MONARCH_LAMBDA_INLINE {
      return (Doubles)__builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14,
                                              30, 15, 31);
    };
    const auto put = [&](int at, Doubles a, Doubles b) MONARCH_LAMBDA_INLINE {
      _mm512_storeu_si512(to + (column + at) * to_stride,
                          (__m512i)__builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14));
      _mm512_storeu_si512(to + (column + at + 1) * to_stride,
                          (__m512i)__builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15));
    };
    put(0, low(r[0], r[1]), low(r[2], r[3]));
    put(2, high(r[0], r[1]), high(r[2], r[3]));
  }
}

// to[c, r] = from[r, c] for r < rows, zero for rows <= r < padded; `words` columns, a multiple of
// 16 as is `padded`.
MONARCH_INLINE void transpose_words(const Word* from, std::ptrdiff_t from_stride, std::int64_t rows,
                                    std::int64_t padded, std::int64_t words, Word* to,
                                    std::ptrdiff_t to_stride) {
  for (std::int64_t r = 0; r < padded; r += 16) {
    for (std::int64_t c = 0; c < words; c += 16) {
      if (r + 16 <= rows) {
        transpose_tile(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
        continue;
      }
      Word tile[256];
      for (std::int64_t row = 0; row < 16; ++row) {
        _mm512_storeu_si512(tile + row * 16,
                            r + row < rows ? _mm512_loadu_si512(from + (r + row) * from_stride + c)
                                           : _mm512_setzero_si512());
      }
      transpose_tile(tile, 16, to + c * to_stride + r, to_stride);
    }
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
