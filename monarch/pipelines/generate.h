// From a prompt to frames: the stages of a run put together for each of the four ways to sample.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "monarch/pipelines/frame_sink.h"
#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/run_control.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::pipelines {

struct GenerationRequest {
  std::string prompt;
  std::int64_t num_samples = 1;  // videos of this prompt, made together as one batch
  std::uint64_t seed = 0;
  // Draws all noise instead of one seeded with `seed`; a run of several prompts may share it.
  std::optional<at::Generator> generator = std::nullopt;
  // Text embeddings made earlier, [1, L, text_dim]; without them the text encoder makes them.
  at::Tensor context = {};
  at::Tensor negative_context = {};
  // Pixels [1, 3, T, H, W] in [-1, 1] that the video begins with: an image (T = 1) or a video to
  // extend, encoded by the VAE. Causal modes only; they count towards num_frames.
  at::Tensor initial_video = {};
  bool decode = true;  // false: stop at the latents

  // Called with the embeddings of prompt and negative prompt (undefined without guidance).
  std::function<void(const at::Tensor& context, const at::Tensor& negative_context)> on_context =
      {};
  // Called with all latents made so far before any of them is decoded, so that they can be kept: in
  // causal modes after each chunk.
  std::function<void(const at::Tensor& latents)> on_latents = {};
};

struct GenerationResult {
  at::Tensor latents;           // [num_samples, C, F, h, w], initial ones included
  std::int64_t num_frames = 0;  // pixel frames delivered
  // Seconds. In causal modes with a sink, decoding takes place between the chunks.
  double text_seconds = 0;
  double denoise_seconds = 0;
  double decode_seconds = 0;
};

// Decoded frames go to `sink` (may be null with decode false): chunk by chunk in causal modes,
// latent frame by latent frame otherwise. Throws kCancelled when `control` stops it; frames
// delivered until then stay valid.
GenerationResult generate_video(WanSystem& system, const GenerationOptions& options,
                                const GenerationRequest& request, FrameSink* sink,
                                const RunControl& control = {});

// Only the last stage: frames of latents [B, C, F, h, w] made earlier.
GenerationResult decode_latents(WanSystem& system, const at::Tensor& latents, FrameSink* sink,
                                const RunControl& control = {});

}  // namespace monarch::pipelines
