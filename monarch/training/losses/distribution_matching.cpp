#include "monarch/training/losses/distribution_matching.h"

#include "monarch/base/error.h"

namespace monarch::training {

at::Tensor shift_timestep(const at::Tensor& raw, double shift, int64_t num_train_timesteps) {
  const auto n = static_cast<double>(num_train_timesteps);
  const at::Tensor u = raw.to(at::kFloat);
  if (shift <= 1) return u;
  const at::Tensor part = u / n;
  return n * (shift * part / (1 + (shift - 1) * part));
}

NoisyVideo noise_for_score(const at::Tensor& x0, const std::optional<StepRange>& range,
                           const ScoreNoiseOptions& options,
                           const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  const int64_t n = options.num_train_timesteps;
  const int64_t low = options.ts_schedule && range ? range->to : options.min_score_timestep;
  const int64_t high = options.ts_schedule_max && range ? range->from : n;
  MONARCH_CHECK(low >= 0 && low < high && high <= n, "[monarch_training] score timesteps from ",
                low, " to ", high, " are none of 0 to ", n,
                "; lower min_score_timestep, or switch ts_schedule off");
  const at::Tensor raw = draws.integers("score_timestep_draw", low, high, {x0.size(0), 1});
  const auto least = static_cast<double>(n * 2 / 100), most = static_cast<double>(n * 98 / 100);
  NoisyVideo noisy;
  noisy.timestep = shift_timestep(raw, options.timestep_shift, n)
                       .clamp(least, most)
                       .expand({x0.size(0), x0.size(2)})
                       .to(x0.device());
  noisy.noise = draws.normal("score_noise", shape_of(x0), x0.options());
  noisy.x_t = schedule.add_noise(x0, noisy.noise, sampling::frame_timestep(noisy.timestep));
  return noisy;
}

DmdTerms dmd_generator_loss(const LossFrames& x, const std::optional<StepRange>& range,
                            const ScoreModel& teacher, const ScoreModel& critic,
                            const at::Tensor& context, const at::Tensor& negative_context,
                            const DmdGuidance& guidance, const ScoreNoiseOptions& options,
                            const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  DmdTerms terms;
  {
    const at::NoGradGuard no_grad;
    const at::Tensor video = x.latents.detach();
    terms.noisy = noise_for_score(video, range, options, schedule, draws);
    const auto predict = [&](const ScoreModel& model, const at::Tensor& prompt) {
      return model(terms.noisy.x_t, terms.noisy.timestep, prompt);
    };
    at::Tensor fake = terms.fake_cond = predict(critic, context);
    if (guidance.fake != 0) {
      terms.fake_uncond = predict(critic, negative_context);
      fake = fake + guidance.fake * (fake - terms.fake_uncond);
    }
    terms.real_cond = predict(teacher, context);
    terms.real_uncond = predict(teacher, negative_context);
    const at::Tensor real = terms.real_cond + guidance.real * (terms.real_cond - terms.real_uncond);
    const at::Tensor scale = (video - real).abs().mean({1, 2, 3, 4}, /*keepdim=*/true);
    terms.gradient = ((fake - real) / scale).nan_to_num();
  }
  // A loss whose gradient is terms.gradient over the number of elements.
  const at::Tensor video = x.latents.to(at::kDouble);
  const at::Tensor target = (x.latents.detach().to(at::kDouble) - terms.gradient.to(at::kDouble));
  const at::Tensor squares = (video - target).square();
  terms.loss = 0.5 * (x.mask.defined() ? squares.masked_select(x.mask).mean() : squares.mean());
  return terms;
}

CriticTarget critic_target(const std::string& denoising_loss_type) {
  if (denoising_loss_type == "flow") return CriticTarget::kFlow;
  if (denoising_loss_type == "x0") return CriticTarget::kX0;
  fail(ErrorCode::kInvalidArgument, "[monarch_training] denoising_loss_type is '",
       denoising_loss_type,
       "'; use flow or x0 (noise and v need a schedule that flow matching does not have)");
}

CriticTerms critic_loss(const at::Tensor& x, const std::optional<StepRange>& range,
                        const ScoreModel& critic, const at::Tensor& context, CriticTarget target,
                        const ScoreNoiseOptions& options,
                        const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  CriticTerms terms;
  terms.noisy = noise_for_score(x.detach(), range, options, schedule, draws);
  terms.x0 = critic(terms.noisy.x_t, terms.noisy.timestep, context);
  at::Tensor error;
  if (target == CriticTarget::kX0) {
    error = x.detach() - terms.x0;
  } else {
    const at::Tensor flow = schedule.x0_to_flow(terms.x0, terms.noisy.x_t,
                                                sampling::frame_timestep(terms.noisy.timestep));
    error = flow - schedule.training_target(x.detach(), terms.noisy.noise);
  }
  terms.loss = error.to(at::kFloat).square().mean();
  return terms;
}

}  // namespace monarch::training
