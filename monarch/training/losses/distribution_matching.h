// Distribution matching distillation (DMD, arXiv 2311.18828; DMD2, arXiv 2405.14867): the
// generator's videos move to where a teacher finds them likelier than a critic does, which learns
// what the generator makes. Latents are [B, C, F, H, W].
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <string>

#include "monarch/sampling/flow_match.h"
#include "monarch/training/draws.h"
#include "monarch/training/simulation.h"

namespace monarch::training {

// x0 of noisy videos: x_t, timestep [B, F] (one level a video), context [B, L, text_dim].
using ScoreModel = std::function<at::Tensor(const at::Tensor& x_t, const at::Tensor& timestep,
                                            const at::Tensor& context)>;

struct ScoreNoiseOptions {
  int64_t num_train_timesteps = 1000;
  double timestep_shift = 1.0;  // how far noise levels lean to noisy
  int64_t min_score_timestep = 0;
  bool ts_schedule = true;       // not below the level that the simulation left
  bool ts_schedule_max = false;  // nor above the one that it came from
};

// Raw timesteps u (any shape) to t = n k (u/n) / (1 + (k - 1) u/n), float32.
at::Tensor shift_timestep(const at::Tensor& raw, double shift, int64_t num_train_timesteps);

struct NoisyVideo {
  at::Tensor timestep;  // [B, F] float32
  at::Tensor noise, x_t;
};

// Noises videos to one level each, kept between 2 % and 98 % of the schedule.
NoisyVideo noise_for_score(const at::Tensor& x0, const std::optional<StepRange>& range,
                           const ScoreNoiseOptions& options,
                           const sampling::FlowMatchSchedule& schedule, Draws& draws);

struct DmdGuidance {
  // c + scale (c - q) of the predictions c for the prompt and q for the negative prompt: scale 3
  // here is a guidance weight of 4 elsewhere.
  double real = 3.0;
  double fake = 0.0;
};

struct DmdTerms {
  NoisyVideo noisy;
  at::Tensor fake_cond, fake_uncond;  // x0 of the critic; the second undefined without guidance
  at::Tensor real_cond, real_uncond;  // x0 of the teacher
  at::Tensor gradient;                // [B, C, F, H, W], with respect to the video
  at::Tensor loss;  // scalar float64: 0.5 mean(gradient^2); its gradient is gradient / elements
};

// The generator's loss on its video `x`. Neither teacher nor critic records gradients.
DmdTerms dmd_generator_loss(const LossFrames& x, const std::optional<StepRange>& range,
                            const ScoreModel& teacher, const ScoreModel& critic,
                            const at::Tensor& context, const at::Tensor& negative_context,
                            const DmdGuidance& guidance, const ScoreNoiseOptions& options,
                            const sampling::FlowMatchSchedule& schedule, Draws& draws);

enum class CriticTarget { kFlow, kX0 };  // the keys flow and x0 of denoising_loss_type
CriticTarget critic_target(const std::string& denoising_loss_type);

struct CriticTerms {
  NoisyVideo noisy;
  at::Tensor x0;  // what the critic predicted
  at::Tensor loss;
};

// The critic's denoising loss on a simulated video (a constant).
CriticTerms critic_loss(const at::Tensor& x, const std::optional<StepRange>& range,
                        const ScoreModel& critic, const at::Tensor& context, CriticTarget target,
                        const ScoreNoiseOptions& options,
                        const sampling::FlowMatchSchedule& schedule, Draws& draws);

}  // namespace monarch::training
