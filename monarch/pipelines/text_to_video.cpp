#include "monarch/pipelines/text_to_video.h"

#include "monarch/base/error.h"

namespace monarch::pipelines {

sampling::Denoiser bind_context(const models::WanDit& model, const at::Tensor& context) {
  return [&model, context](const at::Tensor& x_t, const at::Tensor& timestep, std::int64_t step) {
    return model.forward({.x = x_t, .t = timestep, .context = context, .step = step});
  };
}

at::Tensor sample_diffusion(const sampling::Denoiser& flow, const at::Tensor& noise,
                            const sampling::SolverOptions& options, const RunControl& control) {
  const at::NoGradGuard no_grad;
  const auto solver = sampling::make_solver(options);
  control.check();
  at::Tensor x = noise;
  for (const std::int64_t timestep : solver->timesteps()) {
    const at::Tensor t =
        at::full({x.size(0)}, static_cast<double>(timestep), x.options().dtype(at::kFloat));
    x = solver->step(flow(x, t, solver->next_step()), x);
    control.step("denoise", solver->next_step(), solver->num_steps());
  }
  return x;
}

at::Tensor sample_distilled(const sampling::Denoiser& flow, const at::Tensor& noise,
                            std::span<const float> timesteps,
                            const sampling::FlowMatchSchedule& schedule,
                            const sampling::NoiseSource& draw, const RunControl& control) {
  MONARCH_CHECK(
      timesteps.size() >= 2,
      "[monarch_pipelines] bidirectional few-step generation stops before the last of its "
      "steps and needs at least two; got ",
      timesteps.size());
  const at::NoGradGuard no_grad;
  const auto steps = timesteps.first(timesteps.size() - 1);
  std::int64_t done = 0;
  control.check();
  return sampling::sample_few_step(
      [&](const at::Tensor& x_t, const at::Tensor& timestep) {
        const at::Tensor v = flow(x_t, timestep.select(1, 0), done);
        const at::Tensor x0 = schedule.flow_to_x0(v, x_t, sampling::frame_timestep(timestep));
        control.step("denoise", ++done, static_cast<std::int64_t>(steps.size()));
        return x0;
      },
      noise, steps, schedule, draw);
}

}  // namespace monarch::pipelines
