#include "monarch/training/simulation.h"

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

int64_t count(const std::vector<float>& timesteps) {
  return static_cast<int64_t>(timesteps.size());
}

// The step at which each of `chunks` chunks stops.
std::vector<int64_t> draw_exits(const SimulationOptions& options, int64_t chunks, Draws& draws) {
  const at::Tensor drawn =
      draws.common_integers("exit_indices", 0, count(options.timesteps), {chunks});
  std::vector<int64_t> exits;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t source = options.same_step_across_blocks ? 0 : chunk;
    exits.push_back(options.last_step_only ? count(options.timesteps) - 1
                                           : drawn[source].item<int64_t>());
  }
  return exits;
}

}  // namespace

StepRange step_range(const std::vector<float>& timesteps, int64_t exit,
                     const sampling::FlowMatchSchedule& schedule) {
  const auto level = [&](int64_t step) {
    const at::Tensor timestep = at::scalar_tensor(timesteps[static_cast<size_t>(step)]);
    return schedule.config().num_train_timesteps - schedule.index(timestep).item<int64_t>();
  };
  return {.from = level(exit), .to = exit + 1 < count(timesteps) ? level(exit + 1) : 0};
}

int64_t draw_num_frames(const SimulationOptions& options, Draws& draws) {
  const int64_t single = options.independent_first_frame ? 1 : 0;
  const int64_t chunk = options.num_frame_per_block;
  const int64_t least = options.loss_frames - single;
  const int64_t most = options.num_training_frames - single;
  MONARCH_CHECK(chunk >= 1 && least % chunk == 0 && most % chunk == 0 && most >= least,
                "[monarch_training] videos of ", options.loss_frames, " to ",
                options.num_training_frames, " latent frames",
                single ? ", the first one alone," : "", " do not split into chunks of ", chunk,
                "; change num_frame_per_block, loss_frames or num_training_frames");
  const int64_t chunks =
      draws.common_integers("num_blocks", least / chunk, most / chunk + 1, {1}).item<int64_t>();
  return chunks * chunk + single;
}

Simulation simulate_causal(const pipelines::ChunkFlow& flow, const at::Tensor& noise,
                           const SimulationOptions& options,
                           const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  const int64_t num_frames = noise.size(2);
  const std::vector<int64_t> lengths = pipelines::chunk_lengths(
      num_frames, options.num_frame_per_block, options.independent_first_frame);
  const std::vector<int64_t> exits =
      draw_exits(options, static_cast<int64_t>(lengths.size()), draws);
  const bool records = at::GradMode::is_enabled();
  int64_t chunk = 0, step = 0, start_frame = 0;
  const auto pass_of = [&](int64_t index) {
    if (index > 0) start_frame += lengths[static_cast<size_t>(index - 1)];
    chunk = index;
    step = 0;
    return pipelines::ChunkPass{
        .exit_index = exits[static_cast<size_t>(index)],
        .gradient_at_exit = records && start_frame >= num_frames - options.loss_frames,
        .noise_context = true};
  };
  // A chunk draws for each step after the first, then for the context.
  const auto draw = [&](const at::Tensor& like) {
    const bool for_context = step == exits[static_cast<size_t>(chunk)];
    ++step;
    return draws.normal(
        for_context ? str_cat("context_noise.", chunk) : str_cat("renoise.", chunk, '.', step),
        shape_of(like), like.options());
  };
  Simulation result;
  result.latents = pipelines::roll_out(flow, schedule, noise, /*initial=*/{},
                                       {.num_frame_per_block = options.num_frame_per_block,
                                        .independent_first_frame = options.independent_first_frame,
                                        .timesteps = options.timesteps,
                                        .context_noise = options.context_noise},
                                       draw, pass_of);
  if (options.same_step_across_blocks)
    result.range = step_range(options.timesteps, exits.front(), schedule);
  return result;
}

Simulation simulate_bidirectional(const sampling::CleanPredictor& flow, const at::Tensor& noise,
                                  const SimulationOptions& options,
                                  const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  MONARCH_CHECK(!options.independent_first_frame,
                "[monarch_training] a bidirectional generator has no independent_first_frame; set "
                "it to false, or causal to true");
  const int64_t exit = draw_exits(options, 1, draws).front();
  const bool records = at::GradMode::is_enabled();
  at::Tensor x = noise, x0;
  for (int64_t step = 0; step <= exit; ++step) {
    const auto level = [&](int64_t k) {
      return sampling::uniform_timestep(x, options.timesteps[static_cast<size_t>(k)]);
    };
    if (step > 0) {
      x = schedule.add_noise(x0,
                             draws.normal(str_cat("renoise.0.", step), shape_of(x0), x0.options()),
                             sampling::frame_timestep(level(step)));
    }
    const at::AutoGradMode mode(records && step == exit);
    x0 = schedule.flow_to_x0(flow(x, level(step)), x, sampling::frame_timestep(level(step)));
  }
  return {.latents = x0, .range = step_range(options.timesteps, exit, schedule)};
}

LossFrames last_frames(const at::Tensor& latents, const SimulationOptions& options,
                       const LastFrameEncoder& encode_last) {
  const int64_t num_frames = latents.size(2);
  if (num_frames <= options.loss_frames) return {.latents = latents, .mask = {}};
  const int64_t kept = options.loss_frames - 1;
  at::Tensor first;
  {
    const at::NoGradGuard no_grad;
    first = encode_last(latents.narrow(2, 0, num_frames - kept));
  }
  const at::Tensor mask =
      at::ones({1, 1, options.loss_frames, 1, 1}, latents.options().dtype(at::kBool));
  mask.narrow(2, 0, options.independent_first_frame ? 1 : options.num_frame_per_block).fill_(false);
  return {.latents = at::cat(
              {first.to(latents.scalar_type()), latents.narrow(2, num_frames - kept, kept)}, 2),
          .mask = mask};
}

}  // namespace monarch::training
