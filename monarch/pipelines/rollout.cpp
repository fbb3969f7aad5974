#include "monarch/pipelines/rollout.h"

#include <algorithm>

#include "monarch/base/error.h"

namespace monarch::pipelines {
namespace {

// Of a pass that fills caches at this level.
std::int64_t filling_step(const RolloutOptions& options, double level) {
  const auto begun = std::count_if(options.timesteps.begin(), options.timesteps.end(),
                                   [&](float start) { return start >= level; });
  return std::max<std::int64_t>(begun - 1, 0);
}

}  // namespace

ChunkFlow bind_cache(const models::CausalWanDit& model, const at::Tensor& context,
                     models::DitCache& cache) {
  return [&model, context, &cache](const at::Tensor& x_t, const at::Tensor& timestep,
                                   std::int64_t start_frame, std::int64_t step) {
    return model.forward_cached({.x = x_t, .t = timestep, .context = context, .step = step},
                                start_frame, cache);
  };
}

std::vector<std::int64_t> chunk_lengths(std::int64_t num_frames, std::int64_t num_frame_per_block,
                                        bool single_first) {
  MONARCH_CHECK(num_frame_per_block >= 1, "[monarch_pipelines] num_frame_per_block is ",
                num_frame_per_block, "; it must be at least 1 (3 is usual)");
  const std::int64_t single = single_first ? 1 : 0;
  const std::int64_t rest = num_frames - single;
  const std::int64_t below =
      std::max<std::int64_t>(rest, 0) / num_frame_per_block * num_frame_per_block + single;
  MONARCH_CHECK(rest >= 0 && rest % num_frame_per_block == 0 && num_frames > 0,
                "[monarch_pipelines] ", num_frames, " latent frames do not split into ",
                single_first ? "one frame and " : "", "chunks of ", num_frame_per_block, "; use ",
                below == 0 ? "" : str_cat(below, " or "), below + num_frame_per_block);
  std::vector<std::int64_t> lengths(static_cast<size_t>(rest / num_frame_per_block),
                                    num_frame_per_block);
  if (single_first) lengths.insert(lengths.begin(), 1);
  return lengths;
}

at::Tensor roll_chunk(const ChunkFlow& flow, const sampling::FlowMatchSchedule& schedule,
                      const at::Tensor& noise, std::int64_t start_frame,
                      const RolloutOptions& options, const sampling::NoiseSource& draw,
                      const ChunkPass& pass, const RunControl& control) {
  const auto num_steps = static_cast<std::int64_t>(options.timesteps.size());
  MONARCH_CHECK(pass.exit_index < num_steps && num_steps > 0, "[monarch_pipelines] exit index ",
                pass.exit_index, " is outside the ", num_steps, " denoising steps");
  const std::int64_t exit = pass.exit_index < 0 ? num_steps - 1 : pass.exit_index;
  const auto timestep = [&](std::int64_t k) {
    return sampling::uniform_timestep(noise, options.timesteps[static_cast<size_t>(k)]);
  };
  control.check();
  at::Tensor x = noise;
  at::Tensor x0;
  for (std::int64_t k = 0; k <= exit; ++k) {
    {
      const at::AutoGradMode mode(k == exit && pass.gradient_at_exit);
      const at::Tensor t = timestep(k);
      x0 = schedule.flow_to_x0(flow(x, t, start_frame, k), x, sampling::frame_timestep(t));
    }
    control.check();
    if (k < exit) {
      const at::NoGradGuard no_grad;
      x = schedule.add_noise(x0, draw(x0), sampling::frame_timestep(timestep(k + 1)));
    }
  }
  const at::NoGradGuard no_grad;
  at::Tensor context = x0.detach();
  const at::Tensor t = sampling::uniform_timestep(noise, static_cast<float>(options.context_noise));
  if (pass.noise_context)
    context = schedule.add_noise(context, draw(context), sampling::frame_timestep(t));
  flow(context, t, start_frame, filling_step(options, options.context_noise));
  return x0;
}

void cache_latents(const ChunkFlow& flow, const at::Tensor& latents, const RolloutOptions& options,
                   const RunControl& control) {
  const at::NoGradGuard no_grad;
  const at::Tensor zero = at::zeros({latents.size(0), 1}, latents.options().dtype(at::kFloat));
  std::int64_t frame = 0;
  for (const std::int64_t length : chunk_lengths(latents.size(2), options.num_frame_per_block,
                                                 options.independent_first_frame)) {
    control.check();
    flow(latents.narrow(2, frame, length), zero, frame, filling_step(options, 0));
    frame += length;
  }
}

at::Tensor roll_out(const ChunkFlow& flow, const sampling::FlowMatchSchedule& schedule,
                    const at::Tensor& noise, const at::Tensor& initial,
                    const RolloutOptions& options, const sampling::NoiseSource& draw,
                    const std::function<ChunkPass(std::int64_t)>& pass_of,
                    const ChunkReceiver& on_chunk, const RunControl& control) {
  std::vector<at::Tensor> parts;
  std::int64_t start_frame = 0;
  if (initial.defined()) {
    cache_latents(flow, initial, options, control);
    parts.push_back(initial);
    start_frame = initial.size(2);
  }
  const auto lengths = chunk_lengths(noise.size(2), options.num_frame_per_block,
                                     options.independent_first_frame && !initial.defined());
  std::int64_t used = 0;
  for (size_t chunk = 0; chunk < lengths.size(); ++chunk) {
    const auto index = static_cast<std::int64_t>(chunk);
    parts.push_back(roll_chunk(flow, schedule, noise.narrow(2, used, lengths[chunk]), start_frame,
                               options, draw, pass_of ? pass_of(index) : ChunkPass{}, control));
    if (on_chunk && !on_chunk(parts.back(), start_frame)) break;
    used += lengths[chunk];
    start_frame += lengths[chunk];
    control.step("denoise", index + 1, static_cast<std::int64_t>(lengths.size()));
  }
  return at::cat(parts, 2);
}

}  // namespace monarch::pipelines
