// Score distillation: Self-Forcing DMD of a causal generator, dense or Monarch, and few-step
// distillation of a bidirectional one. Teacher and critic are dense and bidirectional.
//
//   every generator_every-th iteration:  x = simulate(generator); DMD loss of x; AdamW; EMA
//   every iteration:                     x = simulate(generator); critic's denoising loss of x;
//   AdamW
//
// Both draw batches of their own.
#pragma once

#include <memory>

#include "monarch/training/ema.h"
#include "monarch/training/losses/distribution_matching.h"
#include "monarch/training/networks.h"
#include "monarch/training/recipe.h"
#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/trained_network.h"

namespace monarch::training {

struct DistillationOptions {
  SimulationOptions simulation;
  ScoreNoiseOptions score_noise;
  DmdGuidance guidance;
  CriticTarget critic_target = CriticTarget::kFlow;
  double timestep_shift = 5.0;        // of the generator's schedule
  double score_timestep_shift = 8.0;  // of teacher's and critic's, whatever the other is
  int64_t generator_every = 5;
  int64_t channels = 16, height = 60, width = 104;  // of latents
  UpdateOptions generator;
  UpdateOptions critic;
  EmaOptions ema;
  int64_t accumulation = 1;  // batches of one update
};

class DistillationRecipe : public IterativeRecipe {
 public:
  struct Networks {
    models::WanConfig generator_config;
    bool causal = true;
    models::TensorMap generator;
    std::optional<models::CacheGradient> cache_gradient = {};
    models::WanConfig critic_config;
    models::TensorMap critic;
    ScoreModel teacher = {};
    at::Tensor negative_context = {};   // [1, L, text_dim]
    LastFrameEncoder encode_last = {};  // needed when more than loss_frames are simulated
    at::TensorOptions latent_options = at::kFloat;  // type and device of latents
  };

  DistillationRecipe(Networks networks, DistillationOptions options, const Team& team);

  // A fresh video, with gradients in grad mode.
  struct Simulated {
    Simulation simulation;
    LossFrames frames;
  };
  Simulated simulate(const at::Tensor& context, Draws& draws) const;
  struct GeneratorTerms {
    Simulated video;
    DmdTerms dmd;
  };
  GeneratorTerms generator_loss(const at::Tensor& context, Draws& draws) const;
  struct CriticLossTerms {
    Simulated video;
    CriticTerms critic;
  };
  CriticLossTerms critic_loss(const at::Tensor& context, Draws& draws) const;

  Metrics iterate(int64_t step, BatchSource& batches, Draws& draws) override;
  models::TensorMap state() const override;
  void load_state(const models::TensorMap& state) override;

  const models::TensorMap& generator() const { return trained_generator_.parameters(); }
  const models::TensorMap& critic() const { return trained_critic_.parameters(); }
  const Ema& average() const { return ema_; }

 private:
  void update_generator(int64_t step, BatchSource& batches, Draws& draws, Metrics& metrics);
  void update_critic(BatchSource& batches, Draws& draws, Metrics& metrics);

  DistillationOptions options_;
  TrainedNetwork trained_generator_, trained_critic_;
  VideoGenerator generator_;
  ScoreModel teacher_, critic_;
  at::Tensor negative_context_;
  LastFrameEncoder encode_last_;
  at::TensorOptions latent_options_;
  Ema ema_;
  sampling::FlowMatchSchedule schedule_;
};

}  // namespace monarch::training
