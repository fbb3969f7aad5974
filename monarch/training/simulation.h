// Backward simulation: the generator makes a video from noise as it does in use, stops at a random
// denoising step, and only that step records gradients (Self-Forcing, arXiv 2506.08009; DMD2,
// arXiv 2405.14867). Latents are [B, C, F, H, W].
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <vector>

#include "monarch/pipelines/rollout.h"
#include "monarch/sampling/few_step.h"
#include "monarch/training/draws.h"

namespace monarch::training {

struct SimulationOptions {
  std::vector<float> timesteps = {};  // of the denoising steps, descending
  int64_t num_frame_per_block = 3;
  bool independent_first_frame = false;
  bool same_step_across_blocks = true;  // all chunks stop at the same step
  bool last_step_only = false;          // and that is the last one
  double context_noise = 0;             // timestep of the pass that fills the caches
  int64_t loss_frames = 21;             // latent frames that the losses see
  int64_t num_training_frames = 21;     // most that are simulated
};

// Timesteps (0..1000, of an evenly spaced schedule) between which the exit step denoises.
struct StepRange {
  int64_t from = 1000;
  int64_t to = 0;
};

struct Simulation {
  at::Tensor latents;
  std::optional<StepRange> range;  // unknown if chunks stop at different steps
};

// The range of step `exit`.
StepRange step_range(const std::vector<float>& timesteps, int64_t exit,
                     const sampling::FlowMatchSchedule& schedule);

// Latent frames of the next video: whole chunks, from loss_frames to num_training_frames (each
// without the independent first frame).
int64_t draw_num_frames(const SimulationOptions& options, Draws& draws);

// Chunk after chunk with caches. `flow` is bound to fresh caches with room for all frames. In grad
// mode the last loss_frames frames record gradients in their exit step.
Simulation simulate_causal(const pipelines::ChunkFlow& flow, const at::Tensor& noise,
                           const SimulationOptions& options,
                           const sampling::FlowMatchSchedule& schedule, Draws& draws);

// The whole video at once; `flow` takes timesteps [B, F].
Simulation simulate_bidirectional(const sampling::CleanPredictor& flow, const at::Tensor& noise,
                                  const SimulationOptions& options,
                                  const sampling::FlowMatchSchedule& schedule, Draws& draws);

// What the losses see of a simulated video.
struct LossFrames {
  at::Tensor latents;  // [B, C, loss_frames, H, W]
  at::Tensor mask;     // [1, 1, loss_frames, 1, 1] bool, true where gradients count; undefined: all
};

// Latents [B, C, n, H, W] that begin a video -> the last of their frames as a video that begins
// there would have it, [B, C, 1, H, W]: decoded, and its last picture encoded again.
using LastFrameEncoder = std::function<at::Tensor(const at::Tensor& latents)>;

// The last loss_frames frames; of a longer video the first of them is encoded anew, as a constant,
// and the first chunk is masked out.
LossFrames last_frames(const at::Tensor& latents, const SimulationOptions& options,
                       const LastFrameEncoder& encode_last);

}  // namespace monarch::training
