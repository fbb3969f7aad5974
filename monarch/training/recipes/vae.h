// VAE reconstruction on crops of shapes videos.
//
// loss = mean |decode(mean + noise) - video| + l2 * mean(mean^2): with noise of a fixed size this
// is a variational autoencoder of constant variance. Channels that carry nothing shrink to nothing,
// and the decoder forgives the small errors a denoiser makes.
//
// With kind_weight, a linear probe has to tell from every cell's noisy latent which kind of shape
// covers it, and its cross-entropy joins the loss: so that kinds take a larger part of the latents
// than they do for the pixels alone, where a denoiser learns them last.
// (Latents aligned with what they show: arXiv 2501.01423, there with features of a vision model.)
#pragma once

#include "monarch/training/data/shapes_dataset.h"
#include "monarch/training/recipes/kind_probe.h"
#include "monarch/training/recipes/vae_clip.h"
#include "monarch/training/trainer.h"

namespace monarch::training {

struct VaeRecipeOptions {
  VaeClipConfig vae = {};
  int64_t batch = 4;
  int crop = 64;
  int frames = 9;
  double latent_noise = 0.2;
  double latent_l2 = 1e-3;
  std::uint64_t seed = 1;
  double kind_weight = 0;     // of the probe's cross-entropy; 0: no probe
  double kind_noise = 1;      // deviation of the noise in its latents, those divided by their own
  bool decoder_only = false;  // leaves the encoder as it is, so that latents made before stay valid
};

class VaeRecipe : public Recipe {
 public:
  // `initial`: parameters to start from, or empty for random ones.
  explicit VaeRecipe(VaeRecipeOptions options, models::TensorMap initial = {});
  std::string name() const override { return "vae"; }
  const models::TensorMap& parameters() const override { return parameters_; }
  at::Tensor loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                  int64_t parts) const override;
  int64_t samples(int64_t /*step*/) const override { return options_.batch; }

  // Share of the cells covered by a shape, in videos that training does not see, whose kind the
  // probe tells from noisy latents.
  double kind_accuracy(const models::TensorMap& parameters, int64_t videos) const;

 private:
  bool has_probe() const { return options_.kind_weight > 0 && !options_.decoder_only; }

  VaeRecipeOptions options_;
  ShapesDataset data_;
  models::TensorMap parameters_;
};

// Per-channel mean and deviation of the latents of `count` videos: what vae_config.json holds.
// Channels that carry little are divided by the floor instead of their own deviation, so that they
// stay small instead of becoming noise that a denoiser would have to learn.
struct LatentStatistics {
  std::vector<double> mean, deviation;
};
LatentStatistics measure_latents(const VaeClipConfig& config, const models::TensorMap& parameters,
                                 const ShapesDataset& data, int64_t count);

}  // namespace monarch::training
