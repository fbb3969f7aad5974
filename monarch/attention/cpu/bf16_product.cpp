#include "monarch/attention/cpu/bf16_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

#if defined(__AMX_BF16__)

// Tile registers: sums in 0 to 3 (two by two), A in 4 and 5, B in 6 and 7. The compiler knows no
// tile registers, so it cannot mind them; nothing but this file uses any.
namespace {

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

template <int kRegister>
MONARCH_INLINE void load_tile(const void* from, std::ptrdiff_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
               :
               : "r"(from), "r"(stride * 4), "i"(kRegister)
               : "memory");
}
template <int kRegister>
MONARCH_INLINE void store_tile(float* to, std::ptrdiff_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
               :
               : "r"(to), "r"(stride * 4), "i"(kRegister)
               : "memory");
}
template <int kRegister>
MONARCH_INLINE void clear_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kRegister));
}
template <int kSum, int kA, int kB>
MONARCH_INLINE void multiply_tile() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}

// One or two tiles of rows.
template <int kTiles>
MONARCH_INLINE void multiply_rows(int depth, const Half* a, std::ptrdiff_t a_stride, const Word* b,
                                  std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride,
                                  Sum sum) {
  if (sum == Sum::kAdd) {
    load_tile<0>(c, c_stride);
    load_tile<1>(c + kTile, c_stride);
    if constexpr (kTiles == 2) {
      load_tile<2>(c + kTile * c_stride, c_stride);
      load_tile<3>(c + kTile * c_stride + kTile, c_stride);
    }
  } else {
    clear_tile<0>();
    clear_tile<1>();
    if constexpr (kTiles == 2) {
      clear_tile<2>();
      clear_tile<3>();
    }
  }
  const auto* first = reinterpret_cast<const char*>(a);
  const char* second = first + kTile * a_stride * 2;
  for (int p = 0; p < depth; p += kStrip) {
    load_tile<6>(b, b_stride);
    load_tile<4>(first, a_stride / 2);
    multiply_tile<0, 4, 6>();
    load_tile<7>(b + kTile, b_stride);
    multiply_tile<1, 4, 7>();
    if constexpr (kTiles == 2) {
      load_tile<5>(second, a_stride / 2);
      multiply_tile<2, 5, 6>();
      multiply_tile<3, 5, 7>();
    }
    first += 64;
    second += 64;
    b += kTile * b_stride;
  }
  store_tile<0>(c, c_stride);
  store_tile<1>(c + kTile, c_stride);
  if constexpr (kTiles == 2) {
    store_tile<2>(c + kTile * c_stride, c_stride);
    store_tile<3>(c + kTile * c_stride + kTile, c_stride);
  }
}

}  // namespace

ProductScope::ProductScope() {
  static constexpr TileConfig kConfig;
  asm volatile("ldtilecfg %0" : : "m"(kConfig));
}
ProductScope::~ProductScope() { asm volatile("tilerelease"); }

void multiply_strip(int rows, int depth, const Half* a, std::ptrdiff_t a_stride, const Word* b,
                    std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride, Sum sum) {
  for (int m = 0; m < rows; m += 2 * kTile) {
    if (rows - m > kTile) {
      multiply_rows<2>(depth, a + m * a_stride, a_stride, b, b_stride, c + m * c_stride, c_stride,
                       sum);
    } else {
      multiply_rows<1>(depth, a + m * a_stride, a_stride, b, b_stride, c + m * c_stride, c_stride,
                       sum);
    }
  }
}

#else

namespace {

// Twelve rows by two vectors of sums, beside two of B and one broadcast, fill the registers.
inline constexpr int kMostRows = 12;

template <int kRows>
MONARCH_INLINE void multiply_rows(int rows, int depth, const Half* a, std::ptrdiff_t a_stride,
                                  const Word* b, std::ptrdiff_t b_stride, float* c,
                                  std::ptrdiff_t c_stride, Sum sum) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      multiply_rows<kRows - 1>(rows, depth, a, a_stride, b, b_stride, c, c_stride, sum);
      return;
    }
  }
  __m512 sums[kRows][2];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < 2; ++v)
      sums[m][v] =
          sum == Sum::kAdd ? (__m512)load<16>(c + m * c_stride + v * 16) : (__m512)Vec<16>{};
  }
  for (int p = 0; p < depth; p += 2) {
    const auto first = (__m512bh)_mm512_loadu_si512(b);
    const auto second = (__m512bh)_mm512_loadu_si512(b + 16);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      int word;
      __builtin_memcpy(&word, a + m * a_stride + p, sizeof(word));
      const auto factor = (__m512bh)_mm512_set1_epi32(word);
      sums[m][0] = _mm512_dpbf16_ps(sums[m][0], factor, first);
      sums[m][1] = _mm512_dpbf16_ps(sums[m][1], factor, second);
    }
    b += b_stride;
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < 2; ++v) store<16>(c + m * c_stride + v * 16, (Vec<16>)sums[m][v]);
  }
}

}  // namespace

ProductScope::ProductScope() = default;
ProductScope::~ProductScope() = default;

void multiply_strip(int rows, int depth, const Half* a, std::ptrdiff_t a_stride, const Word* b,
                    std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride, Sum sum) {
  const int tiles = (rows + kMostRows - 1) / kMostRows;
  for (int tile = 0; tile < tiles; ++tile) {
    const int count = (rows + tiles - 1 - tile) / tiles;
    multiply_rows<kMostRows>(count, depth, a, a_stride, b, b_stride, c, c_stride, sum);
    a += count * a_stride;
    c += count * c_stride;
  }
}

#endif

}  // namespace monarch::attention::cpu::MONARCH_ISA
