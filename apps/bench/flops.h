// Floating-point operations of the parts of the system: multiply and add count as two; only matrix
// products, convolutions and attention are counted.
#pragma once

#include <cstdint>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/vae.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::apps {

// The token grid of a latent.
ops::Grid token_grid(const models::WanConfig& config, std::int64_t frames, std::int64_t height,
                     std::int64_t width);

// Latents [1, z_dim, frames, height, width] to pixels.
double vae_decode_flop(const models::VaeConfig& config, std::int64_t frames, std::int64_t height,
                       std::int64_t width);
// Pixels [1, 3, frames, height, width] to latents.
double vae_encode_flop(const models::VaeConfig& config, std::int64_t frames, std::int64_t height,
                       std::int64_t width);

double dense_attention_flop(double q_tokens, double kv_tokens, double heads, double head_dim);
// Gradients by recomputation of the scores: five products in the place of two.
double dense_attention_backward_flop(double q_tokens, double kv_tokens, double heads,
                                     double head_dim);
// Monarch attention of all query tiles on all key tiles, the two grids differing in frames only.
double monarch_attention_flop(const ops::Grid& q_grid, const ops::Grid& kv_grid,
                              const ops::MonarchOptions& options, double heads, double head_dim);

// The gradients, one iteration, with the recomputation of R, a_L, Y and L.
double monarch_attention_backward_flop(const ops::Grid& q_grid, const ops::Grid& kv_grid,
                                       const ops::MonarchOptions& options, double heads,
                                       double head_dim);
// VMonarch attention of a whole video, the exact first frame included.
double vmonarch_attention_flop(const ops::Grid& grid, const ops::VMonarchOptions& options,
                               double heads, double head_dim);

// One layer of the transformer over `grid` tokens, and the whole network in a denoising step
// (attention rules may choose by layer and step; of one layer, that of layer 0).
double dit_layer_flop(const models::WanConfig& config, const ops::Grid& grid);
double dit_flop(const models::WanConfig& config, const ops::Grid& grid, std::int64_t step = 0);
// A chunk of a causal model that attends to kv_grid, itself included; the keys of the text are
// cached.
double dit_chunk_flop(const models::WanConfig& config, const ops::Grid& grid,
                      const ops::Grid& kv_grid);

}  // namespace monarch::apps
