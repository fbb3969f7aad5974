// A model under comparison: what its attention sees, and its videos with other attention.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "monarch/evaluation/model_attention.h"
#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/run_control.h"
#include "monarch/pipelines/wan_system.h"
#include "monarch/sampling/solver.h"

namespace monarch::apps {

class ComparedModel {
 public:
  // Settings are the folder's generate.yaml, then `config` if it is not empty (merged over a
  // default_config.yaml beside it). Refuses causal models (kUnsupported): a chunk's queries do not
  // see the whole video.
  ComparedModel(const std::string& folder, const std::string& config);

  const pipelines::GenerationOptions& options() const { return options_; }
  pipelines::GenerationOptions& options() { return options_; }
  ops::Grid grid() const;
  // What the settings say that it attends with: "dense", "monarchrt", "vmonarch" or "hybrid".
  const std::string& own_attention() const { return own_attention_; }

  // Heads of all layers in the pass for the prompt itself (not the negative one), at `timesteps`
  // denoising steps spread evenly over a run with dense attention: all of them, or `max_heads`
  // spread evenly. Also appends the timesteps.
  std::vector<evaluation::AttentionHead> capture(const std::string& prompt, std::uint64_t seed,
                                                 std::int64_t timesteps, std::int64_t max_heads,
                                                 std::vector<double>& captured_timesteps);

  // Frames [T, 3, H, W] in [0, 1]. The first `dense_steps` denoising steps attend densely.
  at::Tensor video(const std::string& prompt, std::uint64_t seed,
                   const evaluation::LayerAttention& attention, std::int64_t dense_steps = 0);

  std::int64_t num_steps() const;  // of a run, which are its passes for the prompt itself

 private:
  // Latents of a run; `conditional` and `unconditional` take the place of the two passes.
  at::Tensor denoise(std::uint64_t seed, const sampling::Denoiser& conditional,
                     const sampling::Denoiser& unconditional);
  const std::pair<at::Tensor, at::Tensor>& contexts(const std::string& prompt);

  std::string own_attention_;
  pipelines::GenerationOptions options_;
  pipelines::WanSystem system_;
  std::string prompt_;  // whose contexts are kept
  std::pair<at::Tensor, at::Tensor> contexts_;
};

}  // namespace monarch::apps
