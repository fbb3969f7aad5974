// Generation chunk after chunk with a few-step causal model (Self-Forcing): each chunk of latent
// frames is denoised with the caches of the chunks before it, then passed once more to leave its
// clean keys and values in the caches.
//
// Live streaming, one-call generation and training use these functions. Latents are [B, C, F, H,
// W].
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/pipelines/run_control.h"
#include "monarch/sampling/few_step.h"

namespace monarch::pipelines {

// Flow of a chunk that starts at latent frame `start_frame`; reads and writes the caches it is
// bound to. timestep is [B, f], or [B, 1] for all frames. `step` is that of the chunk's denoising
// steps, from 0; passes that fill caches count as the last one whose timestep is not below theirs.
// Records gradients if the grad mode says so.
using ChunkFlow = std::function<at::Tensor(const at::Tensor& x_t, const at::Tensor& timestep,
                                           std::int64_t start_frame, std::int64_t step)>;

// Receives a finished chunk and its first frame; false ends the generation with it.
using ChunkReceiver = std::function<bool(const at::Tensor& latents, std::int64_t start_frame)>;

// Model and cache must outlive the result.
ChunkFlow bind_cache(const models::CausalWanDit& model, const at::Tensor& context,
                     models::DitCache& cache);

// Frames of each chunk of `num_frames` frames: all num_frame_per_block, the first one alone with
// `single_first`. Throws, saying what would fit, if they do not divide.
std::vector<std::int64_t> chunk_lengths(std::int64_t num_frames, std::int64_t num_frame_per_block,
                                        bool single_first);

struct RolloutOptions {
  std::int64_t num_frame_per_block = 3;
  bool independent_first_frame = false;  // the first frame of the video is a chunk of its own
  std::vector<float> timesteps = {};     // descending (sampling::denoising_timesteps)
  double context_noise = 0;              // timestep of the pass that fills the caches
};

// What training does otherwise, chunk by chunk; the defaults generate.
struct ChunkPass {
  std::int64_t exit_index = -1;   // stop after this step; -1: after the last
  bool gradient_at_exit = false;  // record gradients in the last denoising pass
  bool noise_context = false;  // noise the clean chunk to context_noise before it fills the caches
};

// Denoises one chunk from `noise` and leaves it in the caches. Draws once per re-noising step, then
// once for the context if the pass asks for it.
at::Tensor roll_chunk(const ChunkFlow& flow, const sampling::FlowMatchSchedule& schedule,
                      const at::Tensor& noise, std::int64_t start_frame,
                      const RolloutOptions& options, const sampling::NoiseSource& draw,
                      const ChunkPass& pass = {}, const RunControl& control = {});

// Fills the caches with given latents: chunk after chunk (with independent_first_frame the first
// frame alone), at timestep 0.
void cache_latents(const ChunkFlow& flow, const at::Tensor& latents, const RolloutOptions& options,
                   const RunControl& control = {});

// Whole rollout from start: caches `initial` (may be undefined), then one chunk after another.
// Returns initial and generated latents together. `pass_of(chunk index)` and `on_chunk` may be
// empty.
at::Tensor roll_out(const ChunkFlow& flow, const sampling::FlowMatchSchedule& schedule,
                    const at::Tensor& noise, const at::Tensor& initial,
                    const RolloutOptions& options, const sampling::NoiseSource& draw,
                    const std::function<ChunkPass(std::int64_t)>& pass_of = {},
                    const ChunkReceiver& on_chunk = {}, const RunControl& control = {});

}  // namespace monarch::pipelines
