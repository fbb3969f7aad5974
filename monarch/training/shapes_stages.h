// How the shapes model is trained, stage by stage, in one working folder:
//
//   tokenizer   google/umt5-shapes/spiece.model
//   text        text.state.safetensors       needs the tokenizer
//   vae         vae.state.safetensors, vae_config.json (with the latents' mean and deviation)
//   dit         dit.state.safetensors, latents-<size>.bin     needs all of the above
//   export      a model folder in the Wan layout, 16-bit      needs all of the above
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "monarch/training/trainer.h"

namespace monarch::training {

// Zero means: the stage's default.
struct ShapesStageOptions {
  std::filesystem::path out;
  int64_t steps = 0;
  int64_t batch = 0;
  double lr = 0;
  double decay_from = 0.6;
  bool resume = false;
  int64_t workers = 2;
  bool mixed_precision = false;  // matrix products in bfloat16; see TrainerOptions
  std::uint64_t seed = 1;
  std::function<bool()> stop;

  bool decoder_only = false;       // vae: train the decoder of `init` and leave the encoder
  double latent_noise = 0.2;       // vae: deviation of the noise that the decoder learns to bear
  double kind_weight = 0;          // vae, dit: of a probe that reads kinds of shapes off latents
  double kind_noise = 1;           // vae: deviation of the noise that the probe has to bear
  int crop = 32;                   // vae: pixels of a square clip
  int64_t statistics_videos = 24;  // vae: from which the latents' mean and deviation are measured
  int frames = 21;                 // vae, dit: pixel frames, 1 + 4n
  int width = 256, height = 160;   // dit
  bool monarch = true;             // dit: Monarch attention (1,1,1), or dense
  double shift = 4.0;              // dit: how far noise levels lean to noisy
  int64_t pool = 1200;             // dit: videos whose latents are kept
  int64_t image_pool = 6000;       // dit: images whose latents are kept
  int64_t image_steps = 0;         // dit: first steps, on images
  int64_t clip_steps = 0;          // dit: steps after those, on three latent frames
  int64_t image_every = 3;         // dit: later steps of which one is on images; 0: none
  std::filesystem::path init;      // vae, dit: a state or a model folder to start from
  std::filesystem::path base;      // a model folder that stages not found in `out` are taken from
};

void train_tokenizer_stage(const ShapesStageOptions& options);
TrainingResult train_text_stage(const ShapesStageOptions& options);
TrainingResult train_vae_stage(const ShapesStageOptions& options);
TrainingResult train_dit_stage(const ShapesStageOptions& options);

// Writes the averaged weights in float16, and the configurations, to `model`.
void export_shapes_model(const ShapesStageOptions& options, const std::filesystem::path& model);

}  // namespace monarch::training
