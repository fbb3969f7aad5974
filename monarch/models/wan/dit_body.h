// What the bidirectional and the causal transformer share: everything but the attention pattern.
#pragma once

#include <ATen/ATen.h>

#include <functional>

#include "monarch/models/wan/cross_attention.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/self_attention.h"

namespace monarch::models {

// Gives the cross-attention keys of a layer.
using CrossKeys = std::function<CrossKv(size_t layer)>;
// Attends in a layer.
using LayerPattern = std::function<at::Tensor(size_t layer, const ops::Projections&)>;

// Checks shapes, appends y. Throws naming the operand.
at::Tensor model_input(const WanConfig& config, const DitInput& input);

// The context as the layers' cross-attention sees it, one row a sample of x.
at::Tensor embed_input_context(const DitWeights& weights, const WanConfig& config,
                               const DitInput& input);

// x [B, in_dim, F, H, W] as model_input gives it, t [B, R] -> [B, out_dim, F, H, W]. Rotary frame
// positions start at start_frame.
at::Tensor run_body(const DitWeights& weights, const WanConfig& config, const at::Tensor& x,
                    const at::Tensor& t, int64_t start_frame, const CrossKeys& cross_keys,
                    const LayerPattern& pattern);

}  // namespace monarch::models
