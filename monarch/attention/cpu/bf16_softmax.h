// Softmaxes of a strip of scores S [count, 32], one per column, in base 2, that leave their weights
// as rows of bf16 for the next product: weights [32, depth], depth = count up to a multiple of 32,
// zeros in the padding.
//
// Weights are p = 2^(x - max), not divided by their sum: the largest is 1 and rounds to itself, and
// the division, of the product's float results, costs less. Sums are those of the unrounded p; a
// rounding error of a weight is no larger than that of a bf16 result, and independent of the
// others.
#pragma once

#include "monarch/attention/cpu/bf16_rows.h"
#include "monarch/attention/cpu/softmax.h"

namespace monarch::attention::cpu::MONARCH_ISA {

MONARCH_INLINE Vec<16> larger(Vec<16> a, Vec<16> b) {
  return (Vec<16>)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);  // NaN: b, as max()
}

// weight(l, v) for l < count and both vectors v of the strip -> weights. `pairs`: room for
// [depth/2, 32].
template <typename Weight>
MONARCH_INLINE void write_weights(int count, Word* pairs, Half* weights, std::ptrdiff_t stride,
                                  const Weight& weight) {
  int l = 0;
  for (; l + 1 < count; l += 2) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const Vec<16> even = weight(l, v);
      const Vec<16> odd = weight(l + 1, v);
      _mm512_storeu_si512(pairs + l * 16 + v * 16, side_by_side(even, odd));
    }
  }
  const int depth = static_cast<int>(round_up(count, kStrip));
  for (; l < depth; l += 2) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const Vec<16> even = l < count ? weight(l, v) : Vec<16>{};
      _mm512_storeu_si512(pairs + l * 16 + v * 16, side_by_side(even, Vec<16>{}));
    }
  }
  auto* rows = reinterpret_cast<Word*>(weights);
  for (int v = 0; v < 2; ++v) {
    for (int at = 0; at < depth / 2; at += 16)
      transpose_tile(pairs + at * 32 + v * 16, 32, rows + v * 16 * (stride / 2) + at, stride / 2);
  }
}

// x = scale S: weights, inverse[j] = 1 / Σ p and cL[j] = Σ_l R log2 R for R = p / Σ p.
MONARCH_INLINE void softmax_strip(const float* s, int count, float scale, float* inverse,
                                  float* c_l, Word* pairs, Half* weights, std::ptrdiff_t stride) {
  Vec<16> maximum[2] = {load<16>(s), load<16>(s + 16)};
  for (int l = 1; l < count; ++l) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) maximum[v] = larger(maximum[v], load<16>(s + l * kStrip + v * 16));
  }
  Vec<16> sum[2] = {};
  Vec<16> moment[2] = {};
#pragma GCC unroll 2
  for (Vec<16>& bound : maximum) bound *= scale;
  write_weights(count, pairs, weights, stride, [&](int l, int v) MONARCH_LAMBDA_INLINE {
    const Vec<16> x = load<16>(s + l * kStrip + v * 16) * scale - maximum[v];
    const Vec<16> p = exp2<16>(x);
    sum[v] += p;
    moment[v] += p * larger(broadcast<16>(-200.0F), x);
    return p;
  });
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const Vec<16> over = 1.0F / sum[v];
    store<16>(inverse + v * 16, over);
    store<16>(c_l + v * 16, moment[v] * over - log2<16>(sum[v]));
  }
}

// x = scale S - bias: one more tile of rows into a running softmax, as running_softmax() of
// softmax.h. bias: one float a row, bias_stride apart, or null; moment: null if not wanted.
template <bool kBias, bool kMoment>
MONARCH_INLINE void running_softmax_strip(const float* s, int count, float scale, const float* bias,
                                          std::ptrdiff_t bias_stride, float* row_max,
                                          float* row_sum, float* correction, float* moment,
                                          Word* pairs, Half* weights, std::ptrdiff_t stride) {
  const auto score = [&](int l, int v) MONARCH_LAMBDA_INLINE {
    const Vec<16> x = load<16>(s + l * kStrip + v * 16) * scale;
    return kBias ? x - bias[l * bias_stride] : x;
  };
  Vec<16> maximum[2] = {load<16>(row_max), load<16>(row_max + 16)};
  for (int l = 0; l < count; ++l) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) maximum[v] = larger(maximum[v], score(l, v));
  }
  Vec<16> sum[2];
  Vec<16> weighted[2] = {};
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const Vec<16> growth = maximum[v] - load<16>(row_max + v * 16);
    const Vec<16> factor = exp2<16>(-growth);
    sum[v] = load<16>(row_sum + v * 16);
    if (kMoment) weighted[v] = factor * (load<16>(moment + v * 16) + bounded<16>(-growth) * sum[v]);
    sum[v] *= factor;
    store<16>(row_max + v * 16, maximum[v]);
    store<16>(correction + v * 16, factor);
  }
  write_weights(count, pairs, weights, stride, [&](int l, int v) MONARCH_LAMBDA_INLINE {
    const Vec<16> x = score(l, v) - maximum[v];
    const Vec<16> p = exp2<16>(x);
    sum[v] += p;
    if (kMoment) weighted[v] += p * larger(broadcast<16>(-200.0F), x);
    return p;
  });
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    store<16>(row_sum + v * 16, sum[v]);
    if (kMoment) store<16>(moment + v * 16, weighted[v]);
  }
}

// Rows [rows, width] that a running softmax corrects; most factors are 1.
MONARCH_INLINE void correct_rows(const float* correction, std::int64_t rows, std::int64_t width,
                                 float* out) {
  for (std::int64_t t = 0; t < rows; ++t) {
    const float factor = correction[t];
    if (factor == 1.0F) continue;
    for (std::int64_t d = 0; d < width; d += 16)
      store<16>(out + t * width + d, load<16>(out + t * width + d) * factor);
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
