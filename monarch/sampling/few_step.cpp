#include "monarch/sampling/few_step.h"

#include "monarch/base/error.h"

namespace monarch::sampling {

std::vector<float> denoising_timesteps(const FlowMatchSchedule& schedule,
                                       std::span<const std::int64_t> steps, bool warp,
                                       bool drop_final_zero) {
  if (drop_final_zero && !steps.empty() && steps.back() == 0) steps = steps.first(steps.size() - 1);
  MONARCH_CHECK(!steps.empty(),
                "[monarch_sampling] the list of denoising steps is empty; give for example 1000, "
                "750, 500, 250");
  const int64_t limit = schedule.config().num_train_timesteps;
  for (size_t k = 0; k < steps.size(); ++k) {
    MONARCH_CHECK(steps[k] >= 0 && steps[k] <= limit, "[monarch_sampling] denoising step ",
                  steps[k], " is outside 0..", limit);
    MONARCH_CHECK(k == 0 || steps[k] < steps[k - 1],
                  "[monarch_sampling] denoising steps must descend, but ", steps[k], " follows ",
                  steps[k - 1]);
  }
  if (warp) return schedule.warp(steps);
  return {steps.begin(), steps.end()};
}

at::Tensor uniform_timestep(const at::Tensor& x, float timestep) {
  return at::full({x.size(0), x.size(2)}, timestep, x.options().dtype(at::kFloat));
}

at::Tensor sample_few_step(const CleanPredictor& predict, const at::Tensor& noise,
                           std::span<const float> timesteps, const FlowMatchSchedule& schedule,
                           const NoiseSource& draw) {
  MONARCH_CHECK(!timesteps.empty(), "[monarch_sampling] few-step sampling needs a timestep");
  at::Tensor x = noise;
  for (size_t k = 0;; ++k) {
    const at::Tensor x0 = predict(x, uniform_timestep(x, timesteps[k]));
    if (k + 1 == timesteps.size()) return x0;
    x = schedule.add_noise(x0, draw(x0), frame_timestep(uniform_timestep(x, timesteps[k + 1])));
  }
}

}  // namespace monarch::sampling
