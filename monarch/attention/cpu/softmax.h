// Softmaxes over the rows of a score matrix, one per column, in base 2: vectors run along the
// columns, so none needs a sum across lanes.
#pragma once

#include "monarch/attention/cpu/simd.h"

namespace monarch::attention::cpu::MONARCH_ISA {

inline constexpr float kLn2 = 0.693147181F;

// Bounds a shifted score from below where it multiplies a weight: 2^-200 is zero, and zero times
// this is no NaN.
template <int N>
MONARCH_INLINE Vec<N> bounded(Vec<N> x) {
  return x < -200.0F ? broadcast<N>(-200.0F) : x;
}

// S[l,j] -> R[l,j] = softmax_l, in place, and cL[j] = Σ_l R log2 R = Σ_l p x / Σ p - log2 Σ p with
// x = S - max, p = 2^x. `lse` (null: not wanted) becomes log2 Σ_l 2^S.
template <int N>
MONARCH_INLINE void softmax_columns(float* s, std::ptrdiff_t stride, std::int64_t count, float* c_l,
                                    float* lse = nullptr) {
  Vec<N> maximum = load<N>(s);
  for (std::int64_t l = 1; l < count; ++l) maximum = max<N>(maximum, load<N>(s + l * stride));
  Vec<N> sum{};
  Vec<N> moment{};
  for (std::int64_t l = 0; l < count; ++l) {
    const Vec<N> x = load<N>(s + l * stride) - maximum;
    const Vec<N> p = exp2<N>(x);
    sum += p;
    moment += p * bounded<N>(x);
    store<N>(s + l * stride, p);
  }
  const Vec<N> inverse = 1.0F / sum;
  for (std::int64_t l = 0; l < count; ++l)
    store<N>(s + l * stride, load<N>(s + l * stride) * inverse);
  store<N>(c_l, moment * inverse - log2<N>(sum));
  if (lse != nullptr) store<N>(lse, maximum + log2<N>(sum));
}

// One more tile of rows into a running softmax: W[k,i] -> 2^(W - bias_k - max) in place. Updates
// the running maximum and sum, and leaves in `correction` the factor for whatever was accumulated
// before. `bias` (per row and column, null: none) is subtracted from the scores; `moment` (null:
// none) is the running Σ p x that gives the entropy: when the maximum grows by g it becomes 2^-g
// (moment - g sum).
template <int N>
MONARCH_INLINE void running_softmax(float* w, std::ptrdiff_t stride, std::int64_t count,
                                    const float* bias, std::ptrdiff_t bias_stride, float* row_max,
                                    float* row_sum, float* correction, float* moment = nullptr) {
  const Vec<N> old_max = load<N>(row_max);
  Vec<N> maximum = old_max;
  for (std::int64_t k = 0; k < count; ++k) {
    Vec<N> x = load<N>(w + k * stride);
    if (bias != nullptr) {
      x -= bias[k * bias_stride];
      store<N>(w + k * stride, x);
    }
    maximum = max<N>(maximum, x);
  }
  const Vec<N> growth = maximum - old_max;
  const Vec<N> factor = exp2<N>(-growth);
  Vec<N> sum = load<N>(row_sum);
  Vec<N> weighted{};
  if (moment != nullptr) weighted = factor * (load<N>(moment) + bounded<N>(-growth) * sum);
  sum *= factor;
  for (std::int64_t k = 0; k < count; ++k) {
    const Vec<N> x = load<N>(w + k * stride) - maximum;
    const Vec<N> p = exp2<N>(x);
    sum += p;
    if (moment != nullptr) weighted += p * bounded<N>(x);
    store<N>(w + k * stride, p);
  }
  store<N>(row_max, maximum);
  store<N>(row_sum, sum);
  store<N>(correction, factor);
  if (moment != nullptr) store<N>(moment, weighted);
}

// As softmax_columns, leaving log2 R in `log_r` as well.
template <int N>
MONARCH_INLINE void log_softmax_columns(float* s, float* log_r, std::ptrdiff_t stride,
                                        std::int64_t count, float* c_l) {
  Vec<N> maximum = load<N>(s);
  for (std::int64_t l = 1; l < count; ++l) maximum = max<N>(maximum, load<N>(s + l * stride));
  Vec<N> sum{};
  Vec<N> moment{};
  for (std::int64_t l = 0; l < count; ++l) {
    const Vec<N> x = load<N>(s + l * stride) - maximum;
    const Vec<N> p = exp2<N>(x);
    sum += p;
    moment += p * bounded<N>(x);
    store<N>(log_r + l * stride, x);
    store<N>(s + l * stride, p);
  }
  const Vec<N> inverse = 1.0F / sum;
  const Vec<N> log_sum = log2<N>(sum);
  for (std::int64_t l = 0; l < count; ++l) {
    store<N>(s + l * stride, load<N>(s + l * stride) * inverse);
    store<N>(log_r + l * stride, bounded<N>(load<N>(log_r + l * stride) - log_sum));
  }
  store<N>(c_l, moment * inverse - log_sum);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
