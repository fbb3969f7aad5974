// Videos of a few prompts while a run goes on, by its present and its averaged weights.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "monarch/training/train_config.h"
#include "monarch/training/train_setup.h"

namespace monarch::training {

// Noise is the same every time and has nothing to do with the run's, so that videos of different
// steps can be compared and making them changes nothing.
class Validation {
 public:
  // The first config.validate_first_n prompts of config.validation_prompts_file; throws if there
  // are none. Config and setup must outlive it.
  Validation(const TrainConfig& config, TrainSetup& setup, std::filesystem::path folder);

  // On the first rank of a team, which alone makes videos; the others call TrainSetup's
  // recipe().state() meanwhile, for it may be collective. Writes
  // validation_videos/step_000100/prompt_0_sample_0.mp4, ... below the folder, and the same below
  // validation_videos_ema once the average has begun. Few steps where the configuration lists them,
  // else 50 of UniPC with guidance.
  void run(int64_t step);

 private:
  void make_videos(const models::TensorMap& generator, const std::filesystem::path& folder);
  // Latents [1, C, F, H, W].
  at::Tensor sample(const models::TensorMap& generator, const at::Tensor& context);

  const TrainConfig& config_;
  TrainSetup& setup_;
  std::filesystem::path folder_;
  std::vector<std::string> prompts_;
};

}  // namespace monarch::training
