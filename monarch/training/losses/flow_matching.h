// The diffusion loss of finetuning and of causal initialisation: flow matching with one noise level
// a video, or one a chunk (diffusion forcing, arXiv 2407.01392). Latents are [B, C, F, H, W].
#pragma once

#include <ATen/ATen.h>

#include <functional>

#include "monarch/sampling/flow_match.h"
#include "monarch/training/draws.h"

namespace monarch::training {

// The flow of whole videos: x_t, timestep [B, F] one a frame, context [B, L, text_dim].
using FlowModel = std::function<at::Tensor(const at::Tensor& x_t, const at::Tensor& timestep,
                                           const at::Tensor& context)>;

// Which frames share a noise level.
struct NoiseLevels {
  bool by_chunk = false;  // false: all frames of a video
  int64_t num_frame_per_block = 1;
  bool independent_first_frame = false;  // frame 0 has its own, chunks start at frame 1
};

// Every frame of a chunk takes the value of the chunk's first frame: [B, F] -> [B, F].
at::Tensor tie_chunks(const at::Tensor& per_frame, int64_t num_frame_per_block,
                      bool independent_first_frame);

// Draws indices into the schedule's table, uniformly: [B, F] int64. The table descends, so the
// noise level leans to high noise by as much as the table is shifted.
at::Tensor draw_noise_levels(const NoiseLevels& levels, int64_t batch, int64_t num_frames,
                             const sampling::FlowMatchSchedule& schedule, Draws& draws);

struct FlowMatchingTerms {
  at::Tensor timestep;  // [B, F], in the latents' type, which rounds it
  at::Tensor x_t;
  at::Tensor flow;
  at::Tensor weight;  // [B, F] float32
  at::Tensor loss;    // scalar float32
};

// mean over (B, F) of weight(t) * mean over (C, H, W) of (flow - (noise - x0))^2. Draws the noise,
// then the levels.
FlowMatchingTerms flow_matching_loss(const FlowModel& flow, const at::Tensor& x0,
                                     const at::Tensor& context, const NoiseLevels& levels,
                                     const sampling::FlowMatchSchedule& schedule, Draws& draws);

}  // namespace monarch::training
