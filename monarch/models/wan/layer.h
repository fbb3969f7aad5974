// One transformer layer, and the head behind the last one.
#pragma once

#include <ATen/ATen.h>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/cross_attention.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/models/wan/self_attention.h"

namespace monarch::models {

// x [B, N, dim], e0 [B, R, 6, dim] -> [B, N, dim]. Reuses x's memory when no gradient is recorded.
at::Tensor run_layer(const LayerWeights& weights, const WanConfig& config, at::Tensor x,
                     const at::Tensor& e0, const at::Tensor& rope, const CrossKv& cross,
                     const AttentionPattern& pattern);

// x [B, N, dim], e [B, R, dim] -> [B, N, pt*ph*pw*out_dim]
at::Tensor run_head(const DitWeights& weights, const WanConfig& config, const at::Tensor& x,
                    const at::Tensor& e);

}  // namespace monarch::models
