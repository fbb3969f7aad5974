#include "apps/compare/model_runs.h"

#include "apps/command.h"
#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/pipelines/frame_sink.h"
#include "monarch/pipelines/noise.h"
#include "monarch/pipelines/run_config.h"
#include "monarch/pipelines/run_options.h"
#include "monarch/pipelines/text_to_video.h"
#include "monarch/sampling/guidance.h"

namespace monarch::apps {
namespace {

pipelines::GenerationOptions read_options(const std::string& folder, const std::string& config,
                                          std::string& own) {
  pipelines::GenerationOptions options = pipelines::run_options(folder, config);
  MONARCH_CHECK_CODE(!options.causal, kUnsupported, "[compare] the configuration is for ",
                     pipelines::generation_mode_name(options.mode()),
                     ", where a chunk's queries do not see the whole video; give a bidirectional "
                     "model (causal: false)");
  own = pipelines::attention_name(options);
  // Attention is chosen pass by pass here.
  options.attention = pipelines::AttentionPreset::kDense;
  options.attention_rules.clear();
  return options;
}

pipelines::RunControl stoppable() {
  pipelines::RunControl control;
  control.cancelled = [] { return interrupted(); };
  return control;
}

const evaluation::LayerAttention dense = [](std::size_t, const models::Qkv& qkv) {
  return ops::dense_attention(qkv.q, qkv.k, qkv.v);
};

}  // namespace

ComparedModel::ComparedModel(const std::string& folder, const std::string& config)
    : options_(read_options(folder, config, own_attention_)), system_(folder) {}

ops::Grid ComparedModel::grid() const {
  const pipelines::LatentShape shape = pipelines::latent_shape(system_, options_);
  const auto& patch = system_.transformer_config().patch_size;
  return {shape.frames / patch[0], shape.height / patch[1], shape.width / patch[2]};
}

std::int64_t ComparedModel::num_steps() const {
  // The last entry of a few-step list is not visited (pipelines::sample_distilled).
  return options_.mode() == pipelines::GenerationMode::kFewStep
             ? static_cast<std::int64_t>(options_.denoising_step_list.size()) - 1
             : options_.sampling_steps;
}

const std::pair<at::Tensor, at::Tensor>& ComparedModel::contexts(const std::string& prompt) {
  if (contexts_.first.defined() && prompt == prompt_) return contexts_;
  const std::vector<std::string> texts{prompt, options_.negative_prompt};
  const at::Tensor encoded = system_.encode_text(texts);
  prompt_ = prompt;
  contexts_ = {encoded.narrow(0, 0, 1), encoded.narrow(0, 1, 1)};
  return contexts_;
}

at::Tensor ComparedModel::denoise(std::uint64_t seed, const sampling::Denoiser& conditional,
                                  const sampling::Denoiser& unconditional) {
  at::Generator generator = pipelines::seeded_generator(seed);
  const at::Tensor noise = pipelines::draw_noise(
      generator, pipelines::latent_shape(system_, options_), system_.tensor_options());
  if (options_.mode() == pipelines::GenerationMode::kFewStep) {
    const sampling::FlowMatchSchedule schedule(
        sampling::FlowMatchConfig::self_forcing(options_.timestep_shift));
    return pipelines::sample_distilled(
        conditional, noise,
        sampling::denoising_timesteps(schedule, options_.denoising_step_list,
                                      options_.warp_denoising_step, /*drop_final_zero=*/true),
        schedule, pipelines::noise_source(generator), stoppable());
  }
  const sampling::Denoiser flow =
      options_.guidance_scale == 1.0
          ? conditional
          : sampling::with_guidance(conditional, unconditional, options_.guidance_scale);
  return pipelines::sample_diffusion(flow, noise,
                                     {.name = options_.sample_solver,
                                      .num_steps = options_.sampling_steps,
                                      .shift = options_.sample_shift},
                                     stoppable());
}

std::vector<evaluation::AttentionHead> ComparedModel::capture(
    const std::string& prompt, std::uint64_t seed, std::int64_t timesteps, std::int64_t max_heads,
    std::vector<double>& captured_timesteps) {
  const at::NoGradGuard no_grad;
  const auto model = system_.transformer(pipelines::run_config(system_, options_));
  const auto [context, negative] = contexts(prompt);
  const std::int64_t passes = num_steps(), wanted = std::min(timesteps, passes);
  std::vector<evaluation::AttentionHead> heads;
  const models::WanConfig& config = system_.transformer_config();
  const std::int64_t seen_heads = wanted * config.num_layers * config.num_heads;
  const std::int64_t kept_heads = std::min(max_heads, seen_heads);
  std::int64_t seen = 0;
  const evaluation::LayerAttention capturing =
      evaluation::capturing_attention(grid(), heads, [&, kept_heads, seen_heads] {
        ++seen;
        return seen * kept_heads / seen_heads > (seen - 1) * kept_heads / seen_heads;
      });
  std::int64_t pass = 0, captured = 0;
  const auto bound = [&](const at::Tensor& given, const evaluation::LayerAttention& attention) {
    return [&model, given, attention](const at::Tensor& x_t, const at::Tensor& t,
                                      std::int64_t /*step*/) {
      return evaluation::flow_with_attention(*model, {.x = x_t, .t = t, .context = given},
                                             attention);
    };
  };
  const sampling::Denoiser plain = bound(context, dense), watched = bound(context, capturing);
  denoise(
      seed,
      [&](const at::Tensor& x_t, const at::Tensor& t, std::int64_t step) {
        // In the middle of each of `wanted` equal parts of the run.
        const bool now = captured < wanted && pass++ >= (2 * captured + 1) * passes / (2 * wanted);
        if (!now) return plain(x_t, t, step);
        ++captured;
        captured_timesteps.push_back(t.flatten()[0].item<double>());
        const std::size_t before = heads.size();
        const at::Tensor flow = watched(x_t, t, step);
        for (std::size_t i = before; i < heads.size(); ++i)
          heads[i].timestep = captured_timesteps.back();
        return flow;
      },
      bound(negative, dense));
  return heads;
}

at::Tensor ComparedModel::video(const std::string& prompt, std::uint64_t seed,
                                const evaluation::LayerAttention& attention,
                                std::int64_t dense_steps) {
  const at::NoGradGuard no_grad;
  const auto model = system_.transformer(pipelines::run_config(system_, options_));
  const auto [context, negative] = contexts(prompt);
  const auto bound = [&](const at::Tensor& given) {
    return [&, given](const at::Tensor& x_t, const at::Tensor& t, std::int64_t step) {
      return evaluation::flow_with_attention(*model, {.x = x_t, .t = t, .context = given},
                                             step < dense_steps ? dense : attention);
    };
  };
  const at::Tensor latents = denoise(seed, bound(context), bound(negative));
  const at::Tensor frames = pipelines::to_unit_range(system_.vae()->decode(latents));
  return frames[0].transpose(0, 1).contiguous();  // [3, T, H, W] -> [T, 3, H, W]
}

}  // namespace monarch::apps
