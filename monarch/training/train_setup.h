// A training run out of its configuration: networks, data, text encoder.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "monarch/pipelines/wan_system.h"
#include "monarch/training/data/batches.h"
#include "monarch/training/recipe.h"
#include "monarch/training/team.h"
#include "monarch/training/train_config.h"

namespace monarch::training {

// The folder of a model: wan_models/NAME, or NAME itself. Throws kNotFound naming both.
std::filesystem::path model_folder(const std::string& name);

// Named as its parts are needed; keeps them alive.
class TrainSetup {
 public:
  // Loads everything but the data. `team` must outlive it.
  TrainSetup(const TrainConfig& config, at::Device device, const Team& team);

  IterativeRecipe& recipe() { return *recipe_; }
  pipelines::WanSystem& system() { return *system_; }
  // As WanSystem's, on the CPU if config.offload_text_encoder.
  at::Tensor encode_text(std::span<const std::string> prompts);

  // Of config.data_path: prompts for score distillation, latents for diffusion. Throws if the
  // latents are not of config.shape.
  std::unique_ptr<BatchSource> open_data();

  // The generator's sizes with the run's attention and chunks.
  const models::WanConfig& generator_config() const { return generator_config_; }
  at::TensorOptions latent_options() const { return latent_options_; }

 private:
  std::unique_ptr<IterativeRecipe> make_diffusion();
  std::unique_ptr<IterativeRecipe> make_distillation();
  models::TensorMap generator_parameters() const;
  // In pieces where the team shards, else offloaded if config.offload_teacher.
  std::shared_ptr<const models::WanDit> load_teacher() const;
  std::shared_ptr<const LatentData> open_latents();
  LastFrameEncoder last_frame_encoder();

  const TrainConfig& config_;
  const Team& team_;
  at::TensorOptions latent_options_;
  std::unique_ptr<pipelines::WanSystem> system_;
  std::unique_ptr<pipelines::WanSystem> text_system_;  // if it is elsewhere
  models::WanConfig generator_config_;
  std::unique_ptr<IterativeRecipe> recipe_;
};

}  // namespace monarch::training
