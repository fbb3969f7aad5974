#include "apps/parity/training_case.h"

#include "monarch/base/error.h"
#include "monarch/pipelines/noise.h"

namespace monarch::apps {
namespace {

using pipelines::swap_frames_and_channels;

const Json& train(const ParityInput& in) { return in.config().at("train"); }

training::UpdateOptions update_options(const ParityInput& in, bool critic) {
  const Json& t = train(in);
  const std::string suffix = critic ? "_critic" : "";
  training::UpdateOptions options{.lr = t.at("lr" + suffix)};
  options.adamw.beta1 = t.at("beta1" + suffix);
  options.adamw.beta2 = t.at("beta2" + suffix);
  options.adamw.weight_decay = t.at("weight_decay");
  options.max_grad_norm = in.config().value(
      "max_grad_norm", t.value(critic ? "max_grad_norm_critic" : "max_grad_norm_generator", 10.0));
  return options;
}

training::EmaOptions ema_options(const ParityInput& in) {
  return {.decay = train(in).at("ema_weight"), .start_step = train(in).at("ema_start_step")};
}

}  // namespace

at::Tensor RecordedDraws::normal(const std::string& what, const pipelines::LatentShape& shape,
                                 const at::TensorOptions& options) {
  const at::Tensor recorded = in_.input(prefix_ + what);
  return swap_frames_and_channels(recorded.reshape({shape.batch, shape.frames, shape.channels,
                                                    shape.height, shape.width}))
      .contiguous()
      .to(options);
}

at::Tensor RecordedDraws::integers(const std::string& what, int64_t low, int64_t high,
                                   at::IntArrayRef shape) {
  const at::Tensor recorded = in_.input(prefix_ + what);
  MONARCH_CHECK(recorded.sizes() == shape, "[parity] the draw ", what, " has shape ",
                shape_string(recorded.sizes()), ", wanted was ", shape_string(shape));
  MONARCH_CHECK(recorded.min().item<int64_t>() >= low && recorded.max().item<int64_t>() < high,
                "[parity] the draw ", what, " is outside [", low, ", ", high, ")");
  return recorded;
}

at::Tensor RecordedDraws::common_integers(const std::string& what, int64_t low, int64_t high,
                                          at::IntArrayRef shape) {
  return integers(what, low, high, shape);
}

training::Batch RecordedBatches::next() {
  const std::string& prefix = prefixes_.at(used_++);
  training::Batch batch{.context = in_.input(prefix + "prompt_embeds"), .latents = {}};
  if (in_.has("input." + prefix + "clean_latent"))
    batch.latents = latents_of(in_, prefix + "clean_latent");
  return batch;
}

at::Tensor latents_of(const ParityInput& in, const std::string& name) {
  return swap_frames_and_channels(in.input(name)).contiguous();
}

models::WanConfig network_config(const ParityInput& in, const std::string& module) {
  models::WanConfig config = models::WanConfig::from_json(in.config().at(module), module);
  if (module != "generator") return config;
  const Json& t = train(in);
  config.monarch = ops::MonarchOptions::from_json(t.at("monarch_args"));
  config.num_frame_per_block = t.at("num_frame_per_block");
  config.independent_first_frame = t.at("independent_first_frame");
  const Json scale = in.config().value("monarch_softmax_scale", Json());
  if (scale.is_number()) config.causal_train_scale = scale.get<double>();
  return config;
}

models::TensorMap network_parameters(const ParityInput& in, const std::string& module) {
  return in.with_prefix("param." + module + ".");
}

training::DiffusionOptions diffusion_options(const ParityInput& in) {
  const Json& t = train(in);
  return {.levels = {.by_chunk = t.at("causal"),
                     .num_frame_per_block = t.at("num_frame_per_block"),
                     .independent_first_frame = t.at("independent_first_frame")},
          .timestep_shift = t.at("model_kwargs").at("timestep_shift"),
          .update = update_options(in, /*critic=*/false),
          .ema = ema_options(in)};
}

training::DistillationOptions distillation_options(const ParityInput& in) {
  const Json& t = train(in);
  training::DistillationOptions options;
  options.timestep_shift = t.at("model_kwargs").at("timestep_shift");
  options.score_timestep_shift = in.config().at("score_timestep_shift_of_wrappers");
  const sampling::FlowMatchSchedule schedule(
      sampling::FlowMatchConfig::self_forcing(options.timestep_shift));
  options.simulation = {.timesteps = sampling::denoising_timesteps(
                            schedule, t.at("denoising_step_list").get<std::vector<int64_t>>(),
                            t.at("warp_denoising_step"), /*drop_final_zero=*/true),
                        .num_frame_per_block = t.at("num_frame_per_block"),
                        .independent_first_frame = t.at("independent_first_frame"),
                        .same_step_across_blocks = t.at("same_step_across_blocks"),
                        .last_step_only = t.at("last_step_only"),
                        .context_noise = t.at("context_noise"),
                        .num_training_frames = t.at("num_training_frames")};
  options.score_noise = {.num_train_timesteps = t.at("num_train_timestep"),
                         .timestep_shift = t.at("timestep_shift"),
                         .min_score_timestep = t.at("min_score_timestep"),
                         .ts_schedule = t.at("ts_schedule"),
                         .ts_schedule_max = t.at("ts_schedule_max")};
  options.guidance.real = t.at("guidance_scale");
  if (t.contains("real_guidance_scale"))
    options.guidance = {.real = t.at("real_guidance_scale"), .fake = t.at("fake_guidance_scale")};
  options.critic_target = training::critic_target(t.at("denoising_loss_type"));
  options.generator_every = t.at("dfake_gen_update_ratio");
  const std::vector<int64_t> shape = t.at("image_or_video_shape");
  options.channels = shape[2];
  options.height = shape[3];
  options.width = shape[4];
  options.generator = update_options(in, /*critic=*/false);
  options.critic = update_options(in, /*critic=*/true);
  options.ema = ema_options(in);
  return options;
}

training::DistillationRecipe distillation_recipe(const ParityInput& in) {
  static const training::Team alone;
  const training::DistillationOptions options = distillation_options(in);
  training::DistillationRecipe::Networks networks{
      .generator_config = network_config(in, "generator"),
      .causal = train(in).at("causal"),
      .generator = network_parameters(in, "generator"),
      .critic_config = network_config(in, "fake_score"),
      .critic = network_parameters(in, "fake_score")};
  if (in.config().contains("cache_gradient")) {
    networks.cache_gradient = in.config().at("cache_gradient") == "detached"
                                  ? models::CacheGradient::kDetached
                                  : models::CacheGradient::kStraightThrough;
  }
  if (in.config().contains("real_score")) {
    networks.teacher = training::score_model(
        std::make_shared<const models::WanDit>(network_config(in, "real_score"),
                                               network_parameters(in, "real_score")),
        std::make_shared<const sampling::FlowMatchSchedule>(
            sampling::FlowMatchConfig::self_forcing(options.score_timestep_shift)));
  }
  if (in.has("input.negative_prompt_embeds"))
    networks.negative_context = in.input("negative_prompt_embeds");
  // The cases' VAE is the identity: the last frame stays.
  networks.encode_last = [](const at::Tensor& latents) { return latents.slice(2, -1); };
  return {std::move(networks), options, alone};
}

void add_parameter_gradients(const ParityInput& in, const std::string& module,
                             const models::TensorMap& parameters, ParityOutput& out) {
  double sum = 0;
  for (const auto& [name, parameter] : parameters) {
    const at::Tensor& gradient = parameter.grad();
    if (gradient.defined()) sum += gradient.to(at::kDouble).square().sum().item<double>();
    const std::string wanted = "grad." + module + "." + name;
    if (in.has(wanted))
      out[wanted] = gradient.defined() ? gradient.clone() : at::zeros_like(parameter);
  }
  out["expect.grad_norm"] = at::scalar_tensor(std::sqrt(sum));
}

void add_parameters_after(const ParityInput& in, const std::string& module,
                          const models::TensorMap& before, const models::TensorMap& after,
                          ParityOutput& out) {
  const auto tolerance = in.config().at("delta_rel_l2_tolerance").get<double>();
  for (const auto& [name, tensor] : after) {
    const std::string wanted = "expect.after." + module + "." + name;
    const at::Tensor value = tensor.detach().clone();
    out[wanted] = value;
    const at::Tensor change = (in.tensor(wanted) - before.at(name)).to(at::kDouble);
    const double error = (value - in.tensor(wanted)).to(at::kDouble).norm().item<double>();
    const double size = change.norm().item<double>();
    MONARCH_CHECK(error <= tolerance * std::max(size, 1e-12), "[parity] the change of ", wanted,
                  " differs by ", error / size, " of its norm, allowed ", tolerance);
  }
}

}  // namespace monarch::apps
