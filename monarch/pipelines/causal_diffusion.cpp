#include "monarch/pipelines/causal_diffusion.h"

#include "monarch/sampling/guidance.h"

namespace monarch::pipelines {

at::Tensor sample_causal_diffusion(const ChunkFlow& conditional, const ChunkFlow& unconditional,
                                   const at::Tensor& noise, const at::Tensor& initial,
                                   const CausalDiffusionOptions& options,
                                   const ChunkReceiver& on_chunk, const RunControl& control) {
  const at::NoGradGuard no_grad;
  const ChunkFlow guided = [&](const at::Tensor& x, const at::Tensor& t, std::int64_t start_frame,
                               std::int64_t step) {
    const at::Tensor with_prompt = conditional(x, t, start_frame, step);
    if (!unconditional) return with_prompt;
    return sampling::guide(with_prompt, unconditional(x, t, start_frame, step),
                           options.guidance_scale);
  };
  const std::int64_t last_step = options.solver.num_steps - 1;
  std::vector<at::Tensor> parts;
  std::int64_t start_frame = 0;
  if (initial.defined()) {
    const RolloutOptions layout{.num_frame_per_block = options.num_frame_per_block,
                                .independent_first_frame = options.independent_first_frame};
    cache_latents([&](const at::Tensor& x, const at::Tensor& t, std::int64_t frame,
                      std::int64_t) { return guided(x, t, frame, last_step); },
                  initial, layout, control);
    parts.push_back(initial);
    start_frame = initial.size(2);
  }
  const auto lengths = chunk_lengths(noise.size(2), options.num_frame_per_block,
                                     options.independent_first_frame && !initial.defined());
  const auto total = static_cast<std::int64_t>(lengths.size()) * options.solver.num_steps;
  std::int64_t used = 0;
  std::int64_t done = 0;
  control.check();
  for (const std::int64_t length : lengths) {
    const auto solver = sampling::make_solver(options.solver);
    at::Tensor x = noise.narrow(2, used, length);
    for (const std::int64_t timestep : solver->timesteps()) {
      const at::Tensor t = sampling::uniform_timestep(x, static_cast<float>(timestep));
      x = solver->step(guided(x, t, start_frame, solver->next_step()), x);
      control.step("denoise", ++done, total);
    }
    guided(x, sampling::uniform_timestep(x, 0.0F), start_frame, last_step);
    parts.push_back(x);
    if (on_chunk && !on_chunk(x, start_frame)) break;
    used += length;
    start_frame += length;
  }
  return at::cat(parts, 2);
}

}  // namespace monarch::pipelines
