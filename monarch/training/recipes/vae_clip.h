// The Wan VAE on whole clips, for training: all frames at once instead of chunk after chunk.
//
// Equals the streaming encoder and decoder of models/wan/vae.h (a test compares them) with an
// autograd graph an order of magnitude smaller. Frames are the outer part of the batch axis, so
// that a shift in time is a slice, and a causal 3x3x3 convolution is one 2D convolution over three
// frames stacked as channels: small 3D convolutions are 10x slower.
#pragma once

#include <ATen/ATen.h>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

using models::TensorMap;

struct VaeClipConfig {
  int64_t dim = 8;  // base width; widths are dim * {1, 2, 4, 4}
  int64_t z_dim = 16;
};

// Random parameters under the published names, from `generator`.
TensorMap init_vae(const VaeClipConfig& config, at::Generator generator);

// video [B, 3, 1 + 4n, H, W] in [-1, 1] -> mean, not yet normalised [B, z, 1 + n, H/8, W/8]
at::Tensor encode_clip(const VaeClipConfig& config, const TensorMap& parameters,
                       const at::Tensor& video);

// mean [B, z, 1 + n, h, w] -> video [B, 3, 1 + 4n, 8h, 8w], not clamped
at::Tensor decode_clip(const VaeClipConfig& config, const TensorMap& parameters,
                       const at::Tensor& mean);

}  // namespace monarch::training
