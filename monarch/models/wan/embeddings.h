// Timestep, text and image as the transformer's layers see them.
#pragma once

#include <ATen/ATen.h>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"

namespace monarch::models {

struct TimeEmbedding {
  at::Tensor e;   // [B, R, dim]: for the head
  at::Tensor e0;  // [B, R, 6, dim]: for the layers
};

// t [B, R], 0..1000, real valued; R timesteps a sample, one for each equal run of tokens.
TimeEmbedding embed_time(const DitWeights& weights, const WanConfig& config, const at::Tensor& t,
                         at::ScalarType type);

// context [B, L, text_dim], L <= text_len -> [B, text_len, dim]. Missing rows are zeros before the
// two layers, so constant and visible after them. With clip_fea [B, 257, clip_dim] (i2v) the image
// tokens stand in front: [B, 257 + text_len, dim].
at::Tensor embed_context(const DitWeights& weights, const WanConfig& config,
                         const at::Tensor& context, const at::Tensor& clip_fea);

}  // namespace monarch::models
