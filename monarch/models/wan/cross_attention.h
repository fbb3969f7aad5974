// Attention of video tokens to the text (and image) tokens.
#pragma once

#include <ATen/ATen.h>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"

namespace monarch::models {

// Tokens of an image in front of the text of i2v models.
inline constexpr int64_t kImageTokens = 257;

// Keys (after their norm) and values of one layer: constant while the context stays.
struct CrossKv {
  at::Tensor k, v;          // [B, L, heads, D]
  at::Tensor k_img, v_img;  // [B, 257, heads, D], i2v only
};

// context [B, L, dim] as embed_context gives it.
CrossKv cross_keys(const AttentionWeights& weights, const WanConfig& config,
                   const at::Tensor& context);

// x [B, N, dim] -> [B, N, dim]
at::Tensor cross_attention(const AttentionWeights& weights, const WanConfig& config,
                           const at::Tensor& x, const CrossKv& kv);

}  // namespace monarch::models
