// Parity of the inference pipelines, from noise to latents. Fixtures hold [B, F, C, H, W],
// pipelines [B, C, F, H, W]; recorded draws are [B*F, C, H, W].
#include "apps/parity/pipelines.h"

#include "monarch/base/error.h"
#include "monarch/pipelines/causal_diffusion.h"
#include "monarch/pipelines/noise.h"
#include "monarch/pipelines/rollout.h"
#include "monarch/pipelines/text_to_video.h"
#include "monarch/sampling/guidance.h"

namespace monarch::apps {
namespace {

using pipelines::swap_frames_and_channels;

models::WanConfig model_config(const ParityInput& in) {
  Json config = Json::object();
  for (const std::string& key : models::WanConfig::keys()) {
    if (in.config().contains(key)) config[key] = in.config().at(key);
  }
  return models::WanConfig::from_json(config);
}

at::Tensor latents(const ParityInput& in, const std::string& name) {
  return swap_frames_and_channels(in.input(name)).contiguous();
}

// The recorded draws, in order.
sampling::NoiseSource recorded_noise(const ParityInput& in) {
  return [&in, next = 0](const at::Tensor& like) mutable {
    const at::Tensor drawn = in.input(str_cat("renoise", next++));
    return swap_frames_and_channels(
        drawn.reshape({like.size(0), like.size(2), like.size(1), like.size(3), like.size(4)}));
  };
}

sampling::FlowMatchSchedule schedule_of(const ParityInput& in) {
  return sampling::FlowMatchSchedule(
      sampling::FlowMatchConfig::self_forcing(in.config().at("timestep_shift").get<double>()));
}

std::vector<float> denoising_steps(const ParityInput& in,
                                   const sampling::FlowMatchSchedule& schedule,
                                   bool drop_final_zero) {
  return sampling::denoising_timesteps(
      schedule, in.config().at("denoising_step_list").get<std::vector<int64_t>>(),
      in.config().value("warp_denoising_step", false), drop_final_zero);
}

sampling::SolverOptions solver_options(const ParityInput& in) {
  const Json& config = in.config();
  return {.name = config.at("sample_solver").get<std::string>(),
          .num_steps = config.at("sampling_steps").get<int64_t>(),
          .shift = config.at("shift").get<double>(),
          .num_train_timesteps = config.value("num_train_timestep", int64_t{1000})};
}

int64_t frame_tokens(const models::WanConfig& config, const at::Tensor& x) {
  return (x.size(3) / config.patch_size[1]) * (x.size(4) / config.patch_size[2]);
}

// The latent frames that a cache must hold.
int64_t cache_frames(const ParityInput& in, const models::WanConfig& config) {
  if (config.local_attn_size != -1) return config.local_attn_size;
  return in.config().at("image_or_video_shape").at(1).get<int64_t>();
}

// Records the flow of every call under its running number.
struct CallRecorder {
  ParityOutput& out;
  int calls = 0;

  void flow(const at::Tensor& flow) {
    out[str_cat("expect.call", calls++, ".flow")] = swap_frames_and_channels(flow);
  }
  void clean(const at::Tensor& flow, const at::Tensor& x, const at::Tensor& t,
             const sampling::FlowMatchSchedule& schedule) {
    const std::string call = str_cat("expect.call", calls++);
    out[call + ".x0"] =
        swap_frames_and_channels(schedule.flow_to_x0(flow, x, sampling::frame_timestep(t)));
    out[call + ".timestep"] = t;
  }
};

}  // namespace

ParityOutput run_self_forcing_inference(const ParityInput& in) {
  const models::WanConfig config = model_config(in);
  const models::CausalWanDit model(config, in.with_prefix("param."));
  const at::Tensor noise = latents(in, "noise");
  const sampling::FlowMatchSchedule schedule = schedule_of(in);
  models::DitCache cache(config, noise.size(0),
                         cache_frames(in, config) * frame_tokens(config, noise), noise.options());
  pipelines::RolloutOptions options{.num_frame_per_block = config.num_frame_per_block,
                                    .independent_first_frame = config.independent_first_frame,
                                    .timesteps = denoising_steps(in, schedule, false),
                                    .context_noise = in.config().value("context_noise", 0.0)};
  ParityOutput out = {{"expect.denoising_step_list", at::tensor(options.timesteps)}};
  CallRecorder recorder{out};
  const pipelines::ChunkFlow flow = pipelines::bind_cache(model, in.input("context"), cache);
  const at::Tensor initial =
      in.has("input.initial_latent") ? latents(in, "initial_latent") : at::Tensor();
  const at::Tensor all = swap_frames_and_channels(pipelines::roll_out(
      [&](const at::Tensor& x, const at::Tensor& t, int64_t start_frame, int64_t step) {
        const at::Tensor v = flow(x, t, start_frame, step);
        recorder.clean(v, x, t, schedule);
        return v;
      },
      schedule, noise, initial, options, recorded_noise(in)));
  out["expect.latents"] = all;
  const Json& blocks = in.config().at("blocks");
  for (size_t i = 0; i < blocks.size(); ++i) {
    out[str_cat("expect.block", i)] =
        all.narrow(1, blocks[i][0].get<int64_t>(), blocks[i][1].get<int64_t>());
  }
  for (int64_t layer = 0; layer < cache.num_layers(); ++layer) {
    const models::KeysValues& kv = cache.buffers(static_cast<size_t>(layer));
    out[str_cat("expect.kv", layer, ".k")] = kv.k;
    out[str_cat("expect.kv", layer, ".v")] = kv.v;
  }
  return out;
}

ParityOutput run_bidirectional_inference(const ParityInput& in) {
  const models::WanDit model(model_config(in), in.with_prefix("param."));
  const sampling::FlowMatchSchedule schedule = schedule_of(in);
  const std::vector<float> timesteps = denoising_steps(in, schedule, true);
  ParityOutput out = {{"expect.denoising_step_list", at::tensor(timesteps)}};
  CallRecorder recorder{out};
  const sampling::Denoiser flow = pipelines::bind_context(model, in.input("context"));
  const at::Tensor result = pipelines::sample_distilled(
      [&](const at::Tensor& x, const at::Tensor& t, int64_t step) {
        const at::Tensor v = flow(x, t, step);
        recorder.clean(v, x, t.unsqueeze(1).expand({-1, x.size(2)}), schedule);
        return v;
      },
      latents(in, "noise"), timesteps, schedule, recorded_noise(in));
  out["expect.latents"] = swap_frames_and_channels(result);
  return out;
}

ParityOutput run_bidirectional_diffusion_inference(const ParityInput& in) {
  const models::WanDit model(model_config(in), in.with_prefix("param."));
  ParityOutput out;
  CallRecorder recorder{out};
  const auto record = [&](sampling::Denoiser flow) -> sampling::Denoiser {
    return [&recorder, flow = std::move(flow)](const at::Tensor& x, const at::Tensor& t,
                                               int64_t step) {
      const at::Tensor v = flow(x, t, step);
      recorder.flow(v);
      return v;
    };
  };
  const auto guided = sampling::with_guidance(
      record(pipelines::bind_context(model, in.input("context"))),
      record(pipelines::bind_context(model, in.input("negative_context").unsqueeze(0))),
      in.config().at("guidance_scale").get<double>());
  const at::Tensor result =
      pipelines::sample_diffusion(guided, latents(in, "noise"), solver_options(in));
  out["expect.latents"] = swap_frames_and_channels(result);
  return out;
}

ParityOutput run_causal_diffusion_inference(const ParityInput& in) {
  const models::WanConfig config = model_config(in);
  const models::CausalWanDit model(config, in.with_prefix("param."));
  const at::Tensor noise = latents(in, "noise");
  const int64_t tokens = cache_frames(in, config) * frame_tokens(config, noise);
  models::DitCache positive(config, noise.size(0), tokens, noise.options());
  models::DitCache negative(config, noise.size(0), tokens, noise.options());
  ParityOutput out;
  CallRecorder recorder{out};
  const auto record = [&](pipelines::ChunkFlow flow) -> pipelines::ChunkFlow {
    return [&recorder, flow = std::move(flow)](const at::Tensor& x, const at::Tensor& t,
                                               int64_t start_frame, int64_t step) {
      const at::Tensor v = flow(x, t, start_frame, step);
      recorder.flow(v);
      return v;
    };
  };
  const at::Tensor initial =
      in.has("input.initial_latent") ? latents(in, "initial_latent") : at::Tensor();
  const at::Tensor result = pipelines::sample_causal_diffusion(
      record(pipelines::bind_cache(model, in.input("context"), positive)),
      record(pipelines::bind_cache(model, in.input("negative_context").unsqueeze(0), negative)),
      noise, initial,
      {.solver = solver_options(in),
       .guidance_scale = in.config().at("guidance_scale").get<double>(),
       .num_frame_per_block = config.num_frame_per_block,
       .independent_first_frame = config.independent_first_frame});
  out["expect.latents"] = swap_frames_and_channels(result);
  return out;
}

}  // namespace monarch::apps
