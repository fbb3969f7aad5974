// The matrix product of the bf16 kernels: bf16 factors, float sums.
//
//   C[m,n] = Σ_p A[m,p] B[p,n]   or   C[m,n] += ...
//   A  rows of bf16, [M, depth]
//   B  pairs, [depth/2, N, 2]: rows 2r and 2r+1 side by side, so that a 32-bit word holds what one
//      word of A meets
//   C  rows of float
//
// Both units that multiply bf16 take this layout: the tile unit (AMX) and the dot products of
// AVX512-BF16. A product is a strip of 32 columns: its C, at most a few KiB, stays in the
// first-level cache for what comes next. Denormal factors count as zero, as both units have it.
#pragma once

#include "monarch/attention/cpu/simd.h"

namespace monarch::attention::cpu::MONARCH_ISA {

using Half = std::uint16_t;  // the bits of a bf16
using Word = std::uint32_t;  // two of them, the first in the low half

inline constexpr int kTile = 16;   // rows of A and C are padded to this
inline constexpr int kStrip = 32;  // columns of a product; also what depths are padded to

enum class Sum { kOverwrite, kAdd };

// Strides in elements: of A in halves, of B in words, of C in floats. depth is a multiple of
// kStrip. Rows of A are readable, of C readable and writable, up to a multiple of kTile; what the
// padding holds reaches C's padding alone.
void multiply_strip(int rows, int depth, const Half* a, std::ptrdiff_t a_stride, const Word* b,
                    std::ptrdiff_t b_stride, float* c, std::ptrdiff_t c_stride, Sum sum);

// Products need one of these alive in their thread: it sets up the tile registers and clears them.
class ProductScope {
 public:
  ProductScope();
  ~ProductScope();  // NOLINT(performance-trivially-destructible): the AMX kernels' has work to do
  ProductScope(const ProductScope&) = delete;
  ProductScope& operator=(const ProductScope&) = delete;
};

}  // namespace monarch::attention::cpu::MONARCH_ISA
