// Attention among video tokens: projections, norms and positions here, the pattern by the caller.
#pragma once

#include <ATen/ATen.h>

#include <functional>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::models {

// Operands [B, N, heads, D]; q and k normalised and rotated.
struct Qkv {
  at::Tensor q, k, v;
};

// q, k, v -> [B, N, heads, D]: which keys a query sees, and how.
using AttentionPattern = std::function<at::Tensor(const Qkv&)>;

// x [B, N, dim], rope as rope_table gives it -> [B, N, dim]
at::Tensor self_attention(const AttentionWeights& weights, const WanConfig& config,
                          const at::Tensor& x, const at::Tensor& rope,
                          const AttentionPattern& pattern);

// All tokens to all tokens, dense, Monarch or VMonarch as the config says.
at::Tensor bidirectional_attention(const Qkv& qkv, const WanConfig& config, const ops::Grid& grid);

}  // namespace monarch::models
