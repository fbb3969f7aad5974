// The pass over queries, keys and values before attention: RMS norm over all channels of a token,
// rotary embedding over its channel pairs, and the write of new keys and values into a KV cache.
//
// x [B, N, H, D] of any floating type and device; weight [H D] of any floating type; rope [N, D/2],
// complex64: cos + i sin of each channel pair, the same for all heads. Computed in float32 (float64
// for float64 x), results in x's type. Like attention these run on the kernels of monarch/attention
// where these can, and are composed of Torch operators otherwise; monarch/ops/usage.h counts them
// as "norm-rope".
#pragma once

#include <ATen/ATen.h>

#include "monarch/ops/monarch_options.h"

namespace monarch::ops {

// rotated(x * rsqrt(mean(x^2) + eps) * weight). An undefined weight or rope leaves its step out.
// Differentiable in x and weight.
at::Tensor norm_rope(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rope,
                     double eps);

// What a layer projects its tokens to, and how they become operands of attention.
struct Projections {
  at::Tensor q, k, v;         // [B, N, H, D]
  at::Tensor norm_q, norm_k;  // [H D]
  at::Tensor rope;            // [N, D/2]
  double eps = 1e-6;

  at::Tensor rotated_q() const { return rotated(q, norm_q); }
  at::Tensor rotated_k() const { return rotated(k, norm_k); }

 private:
  at::Tensor rotated(const at::Tensor& x, const at::Tensor& weight) const {
    return weight.defined() || rope.defined() ? norm_rope(x, weight, rope, eps) : x;
  }
};

// Normalises and rotates q and k; q is returned, k and v go to slots [B, N, H, D] of a KV cache in
// the block order of `tiling`. One pass over everything; records no gradient.
at::Tensor norm_rope_write(const Projections& projections, const Grid& grid,
                           const MonarchOptions& tiling, const at::Tensor& k_slots,
                           const at::Tensor& v_slots);

}  // namespace monarch::ops
