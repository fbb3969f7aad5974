#include "monarch/pipelines/generate.h"

#include "monarch/base/error.h"
#include "monarch/base/timer.h"
#include "monarch/pipelines/causal_diffusion.h"
#include "monarch/pipelines/text_to_video.h"
#include "monarch/sampling/guidance.h"

namespace monarch::pipelines {
namespace {

sampling::SolverOptions solver_options(const GenerationOptions& options) {
  return {.name = options.sample_solver,
          .num_steps = options.sampling_steps,
          .shift = options.sample_shift};
}

// Everything one run shares between its stages.
class Run {
 public:
  Run(WanSystem& system, const GenerationOptions& options, const GenerationRequest& request,
      FrameSink* sink, const RunControl& control)
      : system_(system),
        options_(options),
        request_(request),
        sink_(request.decode ? sink : nullptr),
        control_(control) {}

  GenerationResult run() {
    const at::NoGradGuard no_grad;
    const GenerationMode mode = options_.mode();
    MONARCH_CHECK(!request_.initial_video.defined() || options_.causal,
                  "[monarch_pipelines] a first image or a video to extend needs a causal model; "
                  "this configuration is for ",
                  generation_mode_name(mode));
    encode_text(mode);
    switch (mode) {
      case GenerationMode::kDiffusion:
      case GenerationMode::kFewStep: whole_video(mode); break;
      case GenerationMode::kCausalDiffusion: causal_diffusion(); break;
      case GenerationMode::kSelfForcing: self_forcing(); break;
    }
    return std::move(result_);
  }

 private:
  void encode_text(GenerationMode mode) {
    control_.check();
    const Timer timer;
    const bool guided =
        (mode == GenerationMode::kDiffusion || mode == GenerationMode::kCausalDiffusion) &&
        options_.guidance_scale != 1.0;
    std::vector<std::string> prompts = {request_.prompt};
    if (guided) prompts.push_back(options_.negative_prompt);
    const at::Tensor contexts = system_.encode_text(prompts);
    context_ = contexts.narrow(0, 0, 1);
    if (guided) negative_context_ = contexts.narrow(0, 1, 1);
    result_.text_seconds = timer.seconds();
    control_.step("text", 1, 1);
  }

  void whole_video(GenerationMode mode) {
    const Timer timer;
    at::Generator generator = seeded_generator(request_.seed);
    const at::Tensor noise =
        draw_noise(generator, latent_shape(system_, options_), system_.tensor_options());
    {
      const auto model = system_.transformer(run_config(system_, options_));
      const sampling::Denoiser conditional = bind_context(*model, context_);
      if (mode == GenerationMode::kDiffusion) {
        const sampling::Denoiser flow =
            negative_context_.defined()
                ? sampling::with_guidance(conditional, bind_context(*model, negative_context_),
                                          options_.guidance_scale)
                : conditional;
        result_.latents = sample_diffusion(flow, noise, solver_options(options_), control_);
      } else {
        const sampling::FlowMatchSchedule schedule(
            sampling::FlowMatchConfig::self_forcing(options_.timestep_shift));
        const std::vector<float> timesteps =
            sampling::denoising_timesteps(schedule, options_.denoising_step_list,
                                          options_.warp_denoising_step, /*drop_final_zero=*/true);
        result_.latents = sample_distilled(conditional, noise, timesteps, schedule,
                                           noise_source(generator), control_);
      }
    }
    result_.denoise_seconds = timer.seconds();
    models::VaeDecodeCache cache;
    for (std::int64_t frame = 0; sink_ != nullptr && frame < result_.latents.size(2); ++frame) {
      if (!deliver(result_.latents.narrow(2, frame, 1), cache)) break;
      control_.step("decode", frame + 1, result_.latents.size(2));
    }
  }

  void causal_diffusion() {
    const at::Tensor initial = encode_initial();
    const models::WanConfig config = run_config(system_, options_);
    const LatentShape shape = latent_shape(system_, options_);
    const auto model = system_.causal_transformer(config);
    const std::int64_t tokens = cache_frames(config, shape) * frame_tokens(config, shape);
    models::DitCache cache(config, 1, tokens, system_.tensor_options());
    std::optional<models::DitCache> negative_cache;
    ChunkFlow unconditional;
    if (negative_context_.defined()) {
      negative_cache.emplace(config, 1, tokens, system_.tensor_options());
      unconditional = bind_cache(*model, negative_context_, *negative_cache);
    }
    at::Generator generator = seeded_generator(request_.seed);
    LatentShape fresh = shape;
    if (initial.defined()) fresh.frames -= initial.size(2);
    const at::Tensor noise = draw_noise(generator, fresh, system_.tensor_options());
    models::VaeDecodeCache decode_cache;
    if (initial.defined()) deliver(initial, decode_cache);
    const Timer timer;
    result_.latents = sample_causal_diffusion(
        bind_cache(*model, context_, cache), unconditional, noise, initial,
        {.solver = solver_options(options_),
         .guidance_scale = options_.guidance_scale,
         .num_frame_per_block = options_.num_frame_per_block,
         .independent_first_frame = options_.independent_first_frame},
        [&](const at::Tensor& chunk, std::int64_t) { return deliver(chunk, decode_cache); },
        control_);
    result_.denoise_seconds = timer.seconds() - result_.decode_seconds;
  }

  void self_forcing() {
    const at::Tensor initial = encode_initial();
    const LatentShape shape = latent_shape(system_, options_);
    const auto model = system_.causal_transformer(run_config(system_, options_));
    const Streamer streamer(*model, nullptr, stream_options(system_, options_, shape.frames));
    const std::int64_t given = initial.defined() ? initial.size(2) : 0;
    StreamState state = streamer.start(context_, request_.seed, shape.frames - given);
    models::VaeDecodeCache decode_cache;
    std::vector<at::Tensor> parts;
    const Timer timer;
    if (initial.defined()) {
      streamer.extend(state, initial, control_);
      parts.push_back(initial);
      deliver(initial, decode_cache);
    }
    while (state.num_frames() < shape.frames) {
      parts.push_back(streamer.advance(state, control_));
      control_.step("denoise", state.num_frames(), shape.frames);
      if (!deliver(parts.back(), decode_cache)) break;
    }
    result_.latents = at::cat(parts, 2);
    result_.denoise_seconds = timer.seconds() - result_.decode_seconds;
  }

  at::Tensor encode_initial() {
    const at::Tensor& video = request_.initial_video;
    if (!video.defined()) return {};
    MONARCH_CHECK(video.dim() == 5 && video.size(0) == 1 && video.size(1) == 3 &&
                      video.size(3) == options_.height && video.size(4) == options_.width,
                  "[monarch_pipelines] the first image or video has shape ",
                  shape_string(video.sizes()), "; [1, 3, frames, ", options_.height, ", ",
                  options_.width, "] was expected");
    at::Tensor latents = system_.vae()->encode(video.to(system_.tensor_options()));
    // A video to extend is cut to whole chunks; an image keeps its single latent frame, which then
    // is a chunk of its own.
    const std::int64_t single = options_.independent_first_frame ? 1 : 0;
    const std::int64_t chunks = (latents.size(2) - single) / options_.num_frame_per_block;
    const std::int64_t kept = single + chunks * options_.num_frame_per_block;
    MONARCH_CHECK(kept > 0, "[monarch_pipelines] the beginning has ", latents.size(2),
                  " latent frames, less than a chunk of ", options_.num_frame_per_block,
                  "; give at least ", 1 + 4 * (options_.num_frame_per_block - 1),
                  " frames, or set independent_first_frame for a model that starts from an image");
    MONARCH_CHECK(kept < latent_shape(system_, options_).frames,
                  "[monarch_pipelines] the beginning fills all ", options_.num_frames,
                  " frames; ask for more");
    return latents.narrow(2, 0, kept);
  }

  bool deliver(const at::Tensor& latents, models::VaeDecodeCache& cache) {
    if (sink_ == nullptr) return true;
    const Timer timer;
    if (!vae_) vae_ = system_.vae();
    const at::Tensor frames = to_unit_range(vae_->decode_chunk(latents, cache));
    const bool more = sink_->write(frames, result_.num_frames);
    result_.num_frames += frames.size(2);
    result_.decode_seconds += timer.seconds();
    return more;
  }

  static std::int64_t frame_tokens(const models::WanConfig& config, const LatentShape& shape) {
    return (shape.height / config.patch_size[1]) * (shape.width / config.patch_size[2]);
  }
  static std::int64_t cache_frames(const models::WanConfig& config, const LatentShape& shape) {
    return config.local_attn_size == -1 ? shape.frames : config.local_attn_size;
  }

  WanSystem& system_;
  const GenerationOptions& options_;
  const GenerationRequest& request_;
  FrameSink* sink_;
  const RunControl& control_;
  at::Tensor context_, negative_context_;
  std::shared_ptr<const models::WanVae> vae_;
  GenerationResult result_;
};

}  // namespace

models::WanConfig run_config(const WanSystem& system, const GenerationOptions& options) {
  models::WanConfig config = system.transformer_config();
  config.monarch = options.monarch;
  config.monarch.enable = options.attention == AttentionPreset::kMonarchRt;
  config.vmonarch.reset();
  if (options.attention == AttentionPreset::kVMonarch) config.vmonarch = options.vmonarch;
  config.num_frame_per_block = options.num_frame_per_block;
  config.independent_first_frame = options.independent_first_frame;
  config.local_attn_size = options.local_attn_size;
  config.sink_size = options.sink_size;
  return config;
}

LatentShape latent_shape(const WanSystem& system, const GenerationOptions& options) {
  const models::VaeConfig& vae = system.vae_config();
  return {.batch = 1,
          .channels = vae.z_dim,
          .frames = vae.num_latent_frames(options.num_frames),
          .height = options.height / vae.spatial_factor(),
          .width = options.width / vae.spatial_factor()};
}

StreamOptions stream_options(const WanSystem& system, const GenerationOptions& options,
                             std::int64_t cache_frames) {
  StreamOptions stream;
  const sampling::FlowMatchSchedule schedule(
      sampling::FlowMatchConfig::self_forcing(options.timestep_shift));
  stream.rollout = {.num_frame_per_block = options.num_frame_per_block,
                    .independent_first_frame = options.independent_first_frame,
                    .timesteps = sampling::denoising_timesteps(
                        schedule, options.denoising_step_list, options.warp_denoising_step,
                        /*drop_final_zero=*/false),
                    .context_noise = options.context_noise};
  stream.timestep_shift = options.timestep_shift;
  stream.shape = latent_shape(system, options);
  stream.shape.frames = cache_frames;
  stream.overlap_frames = options.num_frame_per_block + (options.independent_first_frame ? 1 : 0);
  stream.tensor_options = system.tensor_options();
  return stream;
}

GenerationResult generate_video(WanSystem& system, const GenerationOptions& options,
                                const GenerationRequest& request, FrameSink* sink,
                                const RunControl& control) {
  return Run(system, options, request, sink, control).run();
}

}  // namespace monarch::pipelines
