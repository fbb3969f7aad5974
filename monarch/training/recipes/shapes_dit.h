// Bidirectional flow matching of the shapes model's denoiser.
//
// x_t = (1 - sigma) x0 + sigma noise; loss = mean (flow(x_t, 1000 sigma, caption) - (noise -
// x0))^2, with sigma = k u / (1 + (k - 1) u), u uniform and spread evenly over the batch. Captions
// are worded anew every time; one of ten is empty, for guidance.
//
// Clips grow: first images (one latent frame), then three latent frames, then whole videos, with as
// many latent frames in each batch; one step of `image_every` stays with images. What a thing looks
// like is learned from them at a fraction of the cost; what it looks like in motion is not, as all
// latent frames but the first hold four frames each.
//
// With kind_weight, the VAE's probe of kinds compares what was denoised, x_t - sigma flow, with x0,
// and their divergence joins the loss, weighted by 1 - sigma: which kind of shape a caption names
// is little in mean squares, and without it learned last.
#pragma once

#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/tokenizer.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/training/data/latent_pool.h"
#include "monarch/training/recipes/kind_probe.h"
#include "monarch/training/trainer.h"

namespace monarch::training {

struct ShapesDitOptions {
  models::WanConfig model;
  int64_t batch = 16;       // whole videos a step; more of shorter clips
  int64_t image_steps = 0;  // steps on images, the first ones
  int64_t clip_steps = 0;   // steps on three latent frames, after those
  int64_t image_every = 3;  // steps of which one is on images, after the first; 0: none
  double shift = 4.0;
  double caption_dropout = 0.1;
  double kind_weight = 0;  // of the divergence of kinds; 0: none
  KindProbe probe = {};    // for normalised latents; needed with kind_weight
  std::uint64_t seed = 1;
};

// The sizes of the shapes model's denoiser, Monarch attention off.
models::WanConfig shapes_wan_config();

class ShapesDitRecipe : public Recipe {
 public:
  // `videos` and `images` (one latent frame each) feed the steps; `initial`: parameters to start
  // from, or empty for random ones. The other arguments must outlive the recipe.
  ShapesDitRecipe(ShapesDitOptions options, const LatentPool& videos, const LatentPool& images,
                  const models::Tokenizer& tokenizer, const models::Umt5Encoder& text,
                  models::TensorMap initial = {});
  std::string name() const override { return "dit"; }
  const models::TensorMap& parameters() const override { return parameters_; }
  at::Tensor loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                  int64_t parts) const override;
  int64_t samples(int64_t step) const override;

 private:
  int64_t latent_frames(int64_t step) const;

  ShapesDitOptions options_;
  const LatentPool& videos_;
  const LatentPool& images_;
  const models::Tokenizer& tokenizer_;
  const models::Umt5Encoder& text_;
  models::TensorMap parameters_;
};

}  // namespace monarch::training
