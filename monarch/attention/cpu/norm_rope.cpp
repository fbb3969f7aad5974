// RMS norm over a token's channels and rotary embedding of adjacent channel pairs, in one pass over
// a token, and its gradient.
//   n[c] = r x[c],  r = (mean_c x[c]^2 + eps)^-1/2          y[c] = n[c] w[c]
//   out[2p]   = y[2p] cos_p - y[2p+1] sin_p                 p: a pair of a head; all heads share
//   the out[2p+1] = y[2p] sin_p + y[2p+1] cos_p                 angles of a token
// Backward, g the gradient of out turned back by the angles:
//   dw[c] = Σ_tokens g[c] n[c]            dx[c] = r (w[c] g[c] - n[c] mean_c(w g n))
#include "monarch/attention/cpu/kernels.h"
#include "monarch/attention/cpu/rows.h"

#include <utility>

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

template <int N, typename Indices>
struct Shuffle;
template <int N, int... I>
struct Shuffle<N, std::integer_sequence<int, I...>> {
  static MONARCH_INLINE Vec<N> swap_pairs(Vec<N> v) {
    return __builtin_shufflevector(v, v, (I ^ 1)...);
  }
  static MONARCH_INLINE Vec<N> first_of_pairs(Vec<N> v) {
    return __builtin_shufflevector(v, v, (I & ~1)...);
  }
  static MONARCH_INLINE Vec<N> second_of_pairs(Vec<N> v) {
    return __builtin_shufflevector(v, v, (I | 1)...);
  }
  static MONARCH_INLINE Vec<N> alternating_signs() {
    return Vec<N>{(I % 2 == 0 ? -1.0F : 1.0F)...};
  }
};
using Pairs = Shuffle<kLanes, std::make_integer_sequence<int, kLanes>>;

// Turns the pairs of one head by the angles (direction 1) or back (-1), in place.
MONARCH_INLINE void turn(float* head, const float* rope, std::int64_t head_dim, float direction) {
  const Vec<kLanes> signs = Pairs::alternating_signs() * direction;
  std::int64_t d = 0;
  for (; d + kLanes <= head_dim; d += kLanes) {
    const Vec<kLanes> y = load<kLanes>(head + d), angle = load<kLanes>(rope + d);
    store<kLanes>(head + d, y * Pairs::first_of_pairs(angle) +
                                Pairs::swap_pairs(y) * (Pairs::second_of_pairs(angle) * signs));
  }
  for (; d < head_dim; d += 2) {
    const float a = head[d], b = head[d + 1], sine = rope[d + 1] * direction;
    head[d] = a * rope[d] - b * sine;
    head[d + 1] = a * sine + b * rope[d];
  }
}

// Σ_c term(c) with vectors along c; `vector` gives kLanes terms, `scalar` one.
template <typename VectorTerm, typename ScalarTerm>
MONARCH_INLINE float sum(std::int64_t count, const VectorTerm& vector, const ScalarTerm& scalar) {
  Vec<kLanes> sums{}, more{};
  std::int64_t c = 0;
  for (; c + 2 * kLanes <= count; c += 2 * kLanes) {
    sums += vector(c);
    more += vector(c + kLanes);
  }
  sums += more;
  float total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  for (; c < count; ++c) total += scalar(c);
  return total;
}

}  // namespace

void norm_rope(const NormRopeArgs& args, std::int64_t batch, std::int64_t token,
               std::int64_t out_token, std::int64_t count) {
  const std::int64_t channels = args.num_heads * args.head_dim;
  alignas(64) float row[kMaxNormChannels];
  for (std::int64_t i = 0; i < count; ++i) {
    load_row(args.x.data, args.x.dtype,
             batch * args.x.batch_stride + (token + i) * args.x.token_stride, channels, channels,
             1.0F, row);
    if (args.weight != nullptr) {
      const float squares = sum(
          channels,
          [&](std::int64_t c) MONARCH_LAMBDA_INLINE {
            const Vec<kLanes> x = load<kLanes>(row + c);
            return x * x;
          },
          [&](std::int64_t c) MONARCH_LAMBDA_INLINE { return row[c] * row[c]; });
      const float inverse =
          1.0F / __builtin_sqrtf(squares / static_cast<float>(channels) + args.eps);
      if (args.inverse_rms != nullptr) args.inverse_rms[batch * args.tokens + token + i] = inverse;
      for (std::int64_t c = 0; c < channels; ++c) row[c] = row[c] * inverse * args.weight[c];
    }
    if (args.rope != nullptr) {
      for (std::int64_t c = 0; c < channels; c += args.head_dim)
        turn(row + c, args.rope + (token + i) * args.head_dim, args.head_dim, 1.0F);
    }
    store_row(row, 1.0F, args.out.data, args.out.dtype,
              batch * args.out.batch_stride + (out_token + i) * args.out.token_stride, channels);
  }
}

void norm_rope_backward(const NormRopeBackwardArgs& args, std::int64_t batch, std::int64_t token,
                        std::int64_t count, float* grad_weight) {
  const std::int64_t channels = args.num_heads * args.head_dim;
  alignas(64) float normed[kMaxNormChannels];
  alignas(64) float grad[kMaxNormChannels];
  for (std::int64_t i = 0; i < count; ++i) {
    load_row(args.grad_out.data, args.grad_out.dtype,
             batch * args.grad_out.batch_stride + (token + i) * args.grad_out.token_stride,
             channels, channels, 1.0F, grad);
    if (args.rope != nullptr) {
      for (std::int64_t c = 0; c < channels; c += args.head_dim)
        turn(grad + c, args.rope + (token + i) * args.head_dim, args.head_dim, -1.0F);
    }
    if (args.weight != nullptr) {
      const float inverse = args.inverse_rms[batch * args.tokens + token + i];
      load_row(args.x.data, args.x.dtype,
               batch * args.x.batch_stride + (token + i) * args.x.token_stride, channels, channels,
               inverse, normed);
      const float mean = sum(
                             channels,
                             [&](std::int64_t c) MONARCH_LAMBDA_INLINE {
                               return load<kLanes>(grad + c) * load<kLanes>(normed + c) *
                                      load<kLanes>(args.weight + c);
                             },
                             [&](std::int64_t c) MONARCH_LAMBDA_INLINE {
                               return grad[c] * normed[c] * args.weight[c];
                             }) /
                         static_cast<float>(channels);
      for (std::int64_t c = 0; c < channels; ++c) {
        grad_weight[c] += grad[c] * normed[c];
        grad[c] = (grad[c] * args.weight[c] - normed[c] * mean) * inverse;
      }
    }
    store_row(grad, 1.0F, args.grad_x.data, args.grad_x.dtype,
              batch * args.grad_x.batch_stride + (token + i) * args.grad_x.token_stride, channels);
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
