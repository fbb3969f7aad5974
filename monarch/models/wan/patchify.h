// Latents <-> tokens.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>

#include "monarch/ops/monarch_options.h"

namespace monarch::models {

using PatchSize = std::array<int64_t, 3>;  // latent frames, rows, columns

// Token grid of a latent [B, C, F, H, W]; throws if the patch does not divide it.
ops::Grid token_grid(const at::Tensor& latent, const PatchSize& patch);

// Conv3d with kernel = stride = patch: latent [B, C, F, H, W], weight [dim, C, pt, ph, pw],
// bias [dim] -> tokens [B, N, dim], (frame, row, column) order.
at::Tensor patch_embed(const at::Tensor& latent, const at::Tensor& weight, const at::Tensor& bias,
                       const PatchSize& patch);

// tokens [B, N, pt*ph*pw*C], channel fastest -> [B, C, F, H, W]
at::Tensor unpatchify(const at::Tensor& tokens, const ops::Grid& grid, const PatchSize& patch);

}  // namespace monarch::models
