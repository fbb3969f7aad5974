// What generation options mean for a given model: its configuration, sizes and streaming settings.
#pragma once

#include <cstdint>
#include <string>

#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/noise.h"
#include "monarch/pipelines/streaming.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::pipelines {

// The transformer's configuration for a run: sizes of the system, attention and chunks of the
// options. Throws if the model cannot attend so.
models::WanConfig run_config(const WanSystem& system, const GenerationOptions& options);

// Latent size of a video of these options.
LatentShape latent_shape(const WanSystem& system, const GenerationOptions& options);

// Streaming settings of these options (self-forcing mode), for live serving; the KV cache holds
// `cache_frames` latent frames.
StreamOptions stream_options(const WanSystem& system, const GenerationOptions& options,
                             std::int64_t cache_frames);

// Share of the attention matrix that the two factors do not hold: 1 - 1/b1 - 1/b2 with blocks of b1
// rows and b2 columns.
double monarch_sparsity(const ops::MonarchOptions& options, const ops::Grid& grid);

// "monarchrt, f_tied 1, h_reduce 1, w_reduce 1, 1 iteration, 83.8 % sparse; layers 0-1: dense":
// what a run will use.
std::string describe_attention(const WanSystem& system, const GenerationOptions& options);

}  // namespace monarch::pipelines
