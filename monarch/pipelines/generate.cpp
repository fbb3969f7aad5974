#include "monarch/pipelines/generate.h"

#include "monarch/base/error.h"
#include "monarch/base/timer.h"
#include "monarch/pipelines/causal_diffusion.h"
#include "monarch/pipelines/decode_ahead.h"
#include "monarch/pipelines/run_config.h"
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
        control_(control),
        generator_(request.generator ? *request.generator : seeded_generator(request.seed)) {
    MONARCH_CHECK(request.num_samples >= 1, "[monarch_pipelines] ", request.num_samples,
                  " samples were asked for; at least 1 is needed");
  }

  GenerationResult run() {
    const at::NoGradGuard no_grad;
    const GenerationMode mode = options_.mode();
    MONARCH_CHECK(!request_.initial_video.defined() || options_.causal,
                  "[monarch_pipelines] a first image or a video to extend needs a causal model; "
                  "this configuration is for ",
                  generation_mode_name(mode));
    encode_text(mode);
    try {
      switch (mode) {
        case GenerationMode::kDiffusion:
        case GenerationMode::kFewStep: whole_video(mode); break;
        case GenerationMode::kCausalDiffusion: causal_diffusion(); break;
        case GenerationMode::kSelfForcing: self_forcing(); break;
      }
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) finish_delivery();
      throw;
    }
    finish_delivery();
    return std::move(result_);
  }

  GenerationResult decode_only(const at::Tensor& latents) {
    const at::NoGradGuard no_grad;
    const models::VaeConfig& vae = system_.vae_config();
    MONARCH_CHECK(latents.dim() == 5 && latents.size(1) == vae.z_dim && latents.size(2) >= 1,
                  "[monarch_pipelines] the latents have shape ", shape_string(latents.sizes()),
                  "; [samples, ", vae.z_dim, ", frames, height, width] was expected");
    result_.latents = latents;
    decode_all();
    finish_delivery();
    return std::move(result_);
  }

 private:
  void encode_text(GenerationMode mode) {
    control_.check();
    const Timer timer;
    const bool guided =
        (mode == GenerationMode::kDiffusion || mode == GenerationMode::kCausalDiffusion) &&
        options_.guidance_scale != 1.0;
    std::vector<std::string> prompts;
    if (!request_.context.defined()) prompts.push_back(request_.prompt);
    if (guided && !request_.negative_context.defined()) prompts.push_back(options_.negative_prompt);
    at::Tensor encoded;
    if (!prompts.empty()) encoded = system_.encode_text(prompts);
    context_ =
        request_.context.defined() ? given_context(request_.context) : encoded.narrow(0, 0, 1);
    if (guided) {
      negative_context_ = request_.negative_context.defined()
                              ? given_context(request_.negative_context)
                              : encoded.narrow(0, encoded.size(0) - 1, 1);
    }
    check_finite(context_, "the text embeddings");
    result_.text_seconds = timer.seconds();
    if (request_.on_context) request_.on_context(context_, negative_context_);
    control_.step("text", 1, 1);
  }

  at::Tensor given_context(const at::Tensor& context) const {
    const models::WanConfig& config = system_.transformer_config();
    MONARCH_CHECK(context.dim() == 3 && context.size(0) == 1 &&
                      context.size(1) <= config.text_len && context.size(2) == config.text_dim,
                  "[monarch_pipelines] the given text embeddings have shape ",
                  shape_string(context.sizes()), "; [1, up to ", config.text_len, ", ",
                  config.text_dim, "] was expected");
    return context.to(system_.tensor_options());
  }

  void check_finite(const at::Tensor& values, std::string_view what) const {
    if (!values.isfinite().all().item<bool>()) system_.fail_not_finite(what);
  }

  LatentShape batch_shape() const {
    LatentShape shape = latent_shape(system_, options_);
    shape.batch = request_.num_samples;
    return shape;
  }

  void whole_video(GenerationMode mode) {
    const Timer timer;
    const at::Tensor noise = draw_noise(generator_, batch_shape(), system_.tensor_options());
    {
      const auto model = system_.transformer(run_config(system_, options_));
      const sampling::Denoiser unchecked = bind_context(*model, context_);
      const sampling::Denoiser conditional = [&](const at::Tensor& x_t, const at::Tensor& t,
                                                 std::int64_t step) {
        at::Tensor flow = unchecked(x_t, t, step);
        check_finite(flow, "the transformer's output");
        return flow;
      };
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
        result_.latents = sample_distilled(conditional, noise, few_timesteps(schedule), schedule,
                                           noise_source(generator_), control_);
      }
    }
    result_.denoise_seconds = timer.seconds();
    if (request_.on_latents) request_.on_latents(result_.latents);
    decode_all();
  }

  std::vector<float> few_timesteps(const sampling::FlowMatchSchedule& schedule) const {
    return sampling::denoising_timesteps(schedule, options_.denoising_step_list,
                                         options_.warp_denoising_step, /*drop_final_zero=*/true);
  }

  void decode_all() {
    for (std::int64_t frame = 0; sink_ != nullptr && frame < result_.latents.size(2); ++frame) {
      if (!deliver(result_.latents.narrow(2, frame, 1))) break;
      control_.step("decode", frame + 1, result_.latents.size(2));
    }
  }

  void causal_diffusion() {
    const at::Tensor initial = encode_initial();
    const models::WanConfig config = run_config(system_, options_);
    const LatentShape shape = batch_shape();
    const auto model = system_.causal_transformer(config);
    const std::int64_t tokens = cache_frames(config, shape) * frame_tokens(config, shape);
    models::DitCache cache(config, shape.batch, tokens, system_.tensor_options());
    std::optional<models::DitCache> negative_cache;
    ChunkFlow unconditional;
    if (negative_context_.defined()) {
      negative_cache.emplace(config, shape.batch, tokens, system_.tensor_options());
      unconditional = bind_cache(*model, negative_context_, *negative_cache);
    }
    LatentShape fresh = shape;
    if (initial.defined()) fresh.frames -= initial.size(2);
    const at::Tensor noise = draw_noise(generator_, fresh, system_.tensor_options());
    if (initial.defined()) {
      keep(initial);
      deliver(initial);
    }
    const Timer timer;
    result_.latents = sample_causal_diffusion(
        bind_cache(*model, context_, cache), unconditional, noise, initial,
        {.solver = solver_options(options_),
         .guidance_scale = options_.guidance_scale,
         .num_frame_per_block = options_.num_frame_per_block,
         .independent_first_frame = options_.independent_first_frame},
        [&](const at::Tensor& chunk, std::int64_t) {
          keep(chunk);
          return deliver(chunk);
        },
        control_);
    result_.denoise_seconds = timer.seconds() - result_.decode_seconds;
  }

  void self_forcing() {
    const at::Tensor initial = encode_initial();
    const LatentShape shape = batch_shape();
    const auto model = system_.causal_transformer(run_config(system_, options_));
    StreamOptions stream = stream_options(system_, options_, shape.frames);
    stream.shape.batch = shape.batch;
    const Streamer streamer(*model, nullptr, stream);
    const std::int64_t given = initial.defined() ? initial.size(2) : 0;
    StreamState state = streamer.start(context_, generator_, shape.frames - given);
    const Timer timer;
    if (initial.defined()) {
      streamer.extend(state, initial, control_);
      keep(initial);
      deliver(initial);
    }
    while (state.num_frames() < shape.frames) {
      const at::Tensor chunk = streamer.advance(state, control_);
      keep(chunk);
      control_.step("denoise", state.num_frames(), shape.frames);
      if (!deliver(chunk)) break;
    }
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
    return latents.narrow(2, 0, kept).expand({request_.num_samples, -1, -1, -1, -1});
  }

  // Adds a finished chunk to the result.
  void keep(const at::Tensor& chunk) {
    check_finite(chunk, "the latents");
    result_.latents = result_.latents.defined() ? at::cat({result_.latents, chunk}, 2) : chunk;
    if (request_.on_latents) request_.on_latents(result_.latents);
  }

  bool deliver(const at::Tensor& latents) {
    if (sink_ == nullptr) return true;
    const Timer timer;
    if (!vae_) vae_ = system_.vae();
    if (!decoder_) {
      decoder_.emplace(
          system_.options().device,
          [this](const at::Tensor& chunk) { return vae_->decode_chunk(chunk, decode_cache_); },
          [this](const at::Tensor& pixels) { return write(pixels); });
    }
    const bool more = decoder_->add(latents);
    result_.decode_seconds += timer.seconds();
    return more;
  }
  void finish_delivery() {
    const Timer timer;
    if (decoder_) decoder_->finish();
    result_.decode_seconds += timer.seconds();
  }
  bool write(const at::Tensor& pixels) {
    check_finite(pixels, "the decoded frames");
    const at::Tensor frames = to_unit_range(pixels);
    const bool more = sink_->write(frames, result_.num_frames);
    result_.num_frames += frames.size(2);
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
  at::Generator generator_;
  at::Tensor context_, negative_context_;
  std::shared_ptr<const models::WanVae> vae_;
  models::VaeDecodeCache decode_cache_;
  std::optional<DecodeAhead> decoder_;
  GenerationResult result_;
};

}  // namespace

GenerationResult generate_video(WanSystem& system, const GenerationOptions& options,
                                const GenerationRequest& request, FrameSink* sink,
                                const RunControl& control) {
  return Run(system, options, request, sink, control).run();
}

GenerationResult decode_latents(WanSystem& system, const at::Tensor& latents, FrameSink* sink,
                                const RunControl& control) {
  const GenerationOptions options;
  const GenerationRequest request;
  return Run(system, options, request, sink, control).decode_only(latents);
}

}  // namespace monarch::pipelines
