// The originals' training configuration: YAML files over default_config.yaml.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/models/wan/kv_cache.h"
#include "monarch/training/process_team.h"
#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/recipes/distillation.h"

namespace monarch::training {

struct TrainConfig {
  std::string name;  // config_name: the file's, up to the first dot
  Json resolved;     // all keys, defaults included

  bool distils = false;  // trainer score_distillation; else diffusion
  bool causal = true;
  // Folders of models: below wan_models/, or paths.
  std::string model_name = "Wan2.1-T2V-1.3B";  // sizes, text encoder and VAE of the run
  std::string generator_ckpt;                  // first weights; empty: those of model_name
  bool init_ema = false;                       // its averaged ones
  std::string real_name = "Wan2.1-T2V-1.3B";   // teacher
  std::string fake_name = "Wan2.1-T2V-1.3B";   // critic's first weights
  ops::MonarchOptions monarch;                 // of the generator
  ops::MonarchOptions score_monarch;  // of teacher and critic, for one that was trained with it
  int64_t local_attn_size = -1;
  int64_t sink_size = 0;
  bool relative_sink = false;
  std::optional<models::CacheGradient> cache_gradient;
  std::optional<double> monarch_softmax_scale;  // of causal passes over whole videos

  std::vector<int64_t> shape{1, 21, 16, 60, 104};  // of latents, [B, F, C, H, W]
  std::vector<int64_t> denoising_step_list;        // empty: many-step sampling
  bool warp_denoising_step = false;
  DiffusionOptions diffusion;        // trainer diffusion
  DistillationOptions distillation;  // trainer score_distillation
  std::string negative_prompt;
  double guidance_scale = 3.0;

  std::string data_path;
  int64_t batch_size = 1;
  std::uint64_t seed = 0;  // 0: a random one
  int64_t num_training_iters = 1000;
  int64_t log_iters = 50;  // iterations between checkpoints
  bool mixed_precision = true;
  ShardingStrategy sharding = ShardingStrategy::kHybridFull;  // of several processes
  int64_t sequence_parallel_size = 1;   // processes that make a video together
  bool offload_teacher = false;         // its layers lie in the CPU's memory
  bool offload_text_encoder = false;    // it works there
  bool gradient_checkpointing = false;  // layers are computed again in the backward pass
  double loss_limit = 1e4;              // a larger loss stops the run
  int64_t validate_iters = 100;
  int64_t validate_first_n = -1;  // -1: all
  std::string validation_prompts_file;

  int64_t num_frame_per_block() const { return distillation.simulation.num_frame_per_block; }
  bool independent_first_frame() const { return distillation.simulation.independent_first_frame; }
};

// `file` over the default_config.yaml in its folder, or over `defaults` where it has none. Throws
// one clear error for unknown keys, wrong types, missing keys, and settings that no recipe has.
TrainConfig load_train_config(const std::filesystem::path& file,
                              const std::filesystem::path& defaults);

// The same of merged keys; `where` names them in errors.
TrainConfig train_config_from_json(const Json& merged, const std::string& where);

}  // namespace monarch::training
