#include "monarch/training/validation.h"

#include <iomanip>
#include <sstream>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/io/prompts.h"
#include "monarch/io/video.h"
#include "monarch/pipelines/causal_diffusion.h"
#include "monarch/pipelines/text_to_video.h"
#include "monarch/sampling/guidance.h"
#include "monarch/training/checkpoint.h"
#include "monarch/training/networks.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

constexpr double kFramesPerSecond = 16;
constexpr std::uint64_t kSeed = 0;

// frames [1, 3, T, H, W] in [-1, 1]
void write_video(const at::Tensor& frames, const fs::path& path) {
  const at::Tensor bytes = ((frames.to(at::kCPU, at::kFloat).squeeze(0) + 1) * 127.5)
                               .round()
                               .clamp(0, 255)
                               .to(at::kByte)
                               .permute({1, 2, 3, 0})
                               .contiguous();  // [T, H, W, 3]
  const auto writer = io::open_video_writer(path, bytes.size(2), bytes.size(1), kFramesPerSecond);
  const auto size = static_cast<std::size_t>(bytes[0].numel());
  for (int64_t t = 0; t < bytes.size(0); ++t)
    writer->write(
        {bytes.const_data_ptr<std::uint8_t>() + static_cast<std::size_t>(t) * size, size});
  writer->finish();
}

}  // namespace

Validation::Validation(const TrainConfig& config, TrainSetup& setup, fs::path folder)
    : config_(config),
      setup_(setup),
      folder_(std::move(folder)),
      prompts_(io::read_prompts(config.validation_prompts_file)) {
  MONARCH_CHECK(!prompts_.empty(), "[monarch_training] ", config.validation_prompts_file,
                " has no prompts; give others, or --no_visualize");
  if (config.validate_first_n >= 0 &&
      config.validate_first_n < static_cast<int64_t>(prompts_.size()))
    prompts_.resize(static_cast<size_t>(config.validate_first_n));
}

void Validation::run(int64_t step) {
  const at::NoGradGuard no_grad;
  std::ostringstream name;
  name << "step_" << std::setw(6) << std::setfill('0') << step;
  const models::TensorMap state = setup_.recipe().state();
  make_videos(take_prefix(state, "generator.model."), folder_ / "validation_videos" / name.str());
  if (step > config_.diffusion.ema.start_step) {
    make_videos(take_prefix(state, "generator_ema.model."),
                folder_ / "validation_videos_ema" / name.str());
  }
}

void Validation::make_videos(const models::TensorMap& generator, const fs::path& folder) {
  fs::create_directories(folder);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const at::Tensor latents = sample(generator, setup_.encode_text({&prompts_[i], 1}));
    write_video(setup_.system().vae()->decode(latents).clamp(-1, 1),
                folder / str_cat("prompt_", i, "_sample_0", io::has_ffmpeg() ? ".mp4" : ""));
  }
  log_info(prompts_.size(), " videos in ", folder.string());
}

at::Tensor Validation::sample(const models::TensorMap& generator, const at::Tensor& context) {
  models::WanConfig model_config = setup_.generator_config();
  model_config.sequence = nullptr;  // the first process makes them alone
  const SimulationOptions& simulation = config_.distillation.simulation;
  const double shift = config_.diffusion.timestep_shift;
  const sampling::FlowMatchSchedule schedule(sampling::FlowMatchConfig::self_forcing(shift));
  const bool few = !simulation.timesteps.empty();
  const sampling::SolverOptions solver{.name = "unipc", .num_steps = 50, .shift = shift};
  at::Generator random = pipelines::seeded_generator(kSeed);
  const at::Tensor noise = pipelines::draw_noise(random,
                                                 {.batch = 1,
                                                  .channels = config_.shape[2],
                                                  .frames = simulation.num_training_frames,
                                                  .height = config_.shape[3],
                                                  .width = config_.shape[4]},
                                                 setup_.latent_options());
  at::Tensor negative;
  if (!few) negative = setup_.encode_text({&config_.negative_prompt, 1});
  if (!config_.causal) {
    const models::WanDit model(model_config, generator);
    if (few) {
      return pipelines::sample_distilled(pipelines::bind_context(model, context), noise,
                                         simulation.timesteps, schedule,
                                         pipelines::noise_source(random));
    }
    return pipelines::sample_diffusion(
        sampling::with_guidance(pipelines::bind_context(model, context),
                                pipelines::bind_context(model, negative), config_.guidance_scale),
        noise, solver);
  }
  const models::CausalWanDit model(model_config, generator);
  models::DitCache cache = cache_for(model_config, noise);
  const int64_t chunk = config_.num_frame_per_block();
  const bool first_alone = config_.independent_first_frame();
  if (few) {
    return pipelines::roll_out(pipelines::bind_cache(model, context, cache), schedule, noise, {},
                               {.num_frame_per_block = chunk,
                                .independent_first_frame = first_alone,
                                .timesteps = simulation.timesteps,
                                .context_noise = simulation.context_noise},
                               pipelines::noise_source(random));
  }
  models::DitCache negative_cache = cache_for(model_config, noise);
  return pipelines::sample_causal_diffusion(pipelines::bind_cache(model, context, cache),
                                            pipelines::bind_cache(model, negative, negative_cache),
                                            noise, {},
                                            {.solver = solver,
                                             .guidance_scale = config_.guidance_scale,
                                             .num_frame_per_block = chunk,
                                             .independent_first_frame = first_alone});
}

}  // namespace monarch::training
