// What to generate and how: the settings of `monarch generate`, read from a model folder
// (monarch/pipelines/default_options.h), a YAML file of the originals and command-line flags, in
// this order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/models/wan/attention_rules.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::pipelines {

// Four ways to sample, told apart by two keys of the originals' configuration.
enum class GenerationMode {
  kDiffusion,        // causal: false, no denoising_step_list: whole video, many steps, guidance
  kFewStep,          // causal: false, denoising_step_list: whole video, distilled model
  kCausalDiffusion,  // causal: true, no denoising_step_list: chunk after chunk, many steps,
                     // guidance
  kSelfForcing,      // causal: true, denoising_step_list: chunk after chunk, distilled model
};

std::string_view generation_mode_name(GenerationMode mode);

enum class AttentionPreset { kDense, kMonarchRt, kVMonarch };

AttentionPreset parse_attention_preset(
    const std::string& name);  // "dense", "monarchrt", "vmonarch"
std::string_view attention_preset_name(AttentionPreset preset);

struct GenerationOptions {
  // Pixels. Latents are 8 times smaller in space; 1 + 4 (latent frames - 1) pixel frames.
  std::int64_t width = 832;
  std::int64_t height = 480;
  std::int64_t num_frames = 81;
  double frames_per_second = 16;

  AttentionPreset attention = AttentionPreset::kDense;
  ops::MonarchOptions monarch;    // with kMonarchRt
  ops::VMonarchOptions vmonarch;  // with kVMonarch
  // Exceptions by layer, head, denoising step and chunk (key `attention`).
  std::vector<models::AttentionRule> attention_rules;

  std::string negative_prompt;
  double guidance_scale = 5.0;          // many-step modes; 1 switches guidance off
  std::string sample_solver = "unipc";  // or "dpm++", "euler"
  std::int64_t sampling_steps = 50;
  double sample_shift = 8.0;    // of the many-step solvers
  double timestep_shift = 5.0;  // of the few-step table

  std::vector<std::int64_t> denoising_step_list;
  bool warp_denoising_step = false;

  bool causal = false;
  std::int64_t num_frame_per_block = 1;  // latent frames of a chunk
  bool independent_first_frame = false;
  double context_noise = 0;
  std::int64_t local_attn_size = -1;  // latent frames a query may look back; -1: all
  std::int64_t sink_size = 0;         // first latent frames that are never evicted
  bool relative_sink = false;         // their positions move on with the window

  GenerationMode mode() const;
  std::int64_t num_latent_frames() const { return 1 + (num_frames - 1) / 4; }

  // Overwrites what `config` names. Keys are the originals' (docs/configuration.md); those that
  // only matter for training are accepted and ignored; unknown keys are errors that name the
  // nearest known one.
  void apply(const Json& config, const std::string& where);

  // Throws kInvalidArgument, saying what would fit, if size, frames, tiling and chunks do not
  // agree. `patch_height`, `patch_width`: pixels a token covers (16 x 16 with Wan).
  void validate(std::int64_t patch_height = 16, std::int64_t patch_width = 16) const;
};

// "monarchrt", or "hybrid" where rules make exceptions.
std::string attention_name(const GenerationOptions& options);

}  // namespace monarch::pipelines
