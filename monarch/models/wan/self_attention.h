// Attention among video tokens: projections, norms and positions here, the pattern by the caller.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "monarch/models/wan/attention_rules.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/ops/monarch_options.h"
#include "monarch/ops/norm_rope.h"

namespace monarch::models {

// Operands [B, N, heads, D]; q and k normalised and rotated.
struct Qkv {
  at::Tensor q, k, v;
};

// Projections -> [B, N, heads, D]: which keys a query sees, and how.
using AttentionPattern = std::function<at::Tensor(const ops::Projections&)>;

// x [B, N, dim], rope as rope_table gives it -> [B, N, dim]
at::Tensor self_attention(const AttentionWeights& weights, const WanConfig& config,
                          const at::Tensor& x, const at::Tensor& rope,
                          const AttentionPattern& pattern);

Qkv rotated(const ops::Projections& projections);

// Calls attend(operands, attention) for each group of heads and joins the results.
at::Tensor attend_heads(const Qkv& qkv, const std::vector<HeadGroup>& groups,
                        const std::function<at::Tensor(const Qkv&, const HeadAttention&)>& attend);

// All tokens to all tokens, dense, Monarch or VMonarch as the groups say.
at::Tensor bidirectional_attention(const Qkv& qkv, const std::vector<HeadGroup>& groups,
                                   const ops::Grid& grid);

}  // namespace monarch::models
