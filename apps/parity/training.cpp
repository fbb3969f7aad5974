// Parity of losses, backward simulation and whole training steps. Fixtures hold [B, F, C, H, W].
#include "apps/parity/training.h"

#include "apps/parity/training_case.h"
#include "monarch/base/error.h"
#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/dit.h"

namespace monarch::apps {
namespace {

using pipelines::swap_frames_and_channels;

const training::Team& alone() {
  static const training::Team team;
  return team;
}

void add_range(const std::optional<training::StepRange>& range, ParityOutput& out) {
  if (!range) return;
  out["expect.denoised_timestep_from"] = at::tensor({range->from});
  out["expect.denoised_timestep_to"] = at::tensor({range->to});
}

models::TensorMap copy_of(const models::TensorMap& tensors) {
  models::TensorMap copies;
  for (const auto& [name, tensor] : tensors) copies[name] = tensor.detach().clone();
  return copies;
}

training::DiffusionRecipe diffusion_recipe(const ParityInput& in, int64_t accumulation = 1) {
  training::DiffusionOptions options = diffusion_options(in);
  options.accumulation = accumulation;
  return {network_config(in, "generator"), in.config().at("train").at("causal"),
          network_parameters(in, "generator"), options, alone()};
}

// Notes every call of the generator.
struct SimulationRecorder {
  const ParityInput& in;
  const sampling::FlowMatchSchedule& schedule;
  ParityOutput& out;
  std::vector<float> timesteps = {};
  std::vector<int64_t> start_frames = {}, grads = {};

  void call(const at::Tensor& flow, const at::Tensor& x, const at::Tensor& t, int64_t start_frame) {
    const std::string index = std::to_string(timesteps.size());
    timesteps.push_back(t.flatten()[0].item<float>());
    start_frames.push_back(start_frame);
    grads.push_back(at::GradMode::is_enabled() ? 1 : 0);
    if (!in.has("expect.call_x0." + index)) return;
    out["expect.call_input." + index] = swap_frames_and_channels(x).detach().clone();
    out["expect.call_x0." + index] = swap_frames_and_channels(
        schedule.flow_to_x0(flow.detach(), x, sampling::frame_timestep(t)));
  }
  void finish() {
    out["expect.call_timestep"] =
        at::tensor(timesteps).to(in.tensor("expect.call_timestep").scalar_type());
    out["expect.call_start_frame"] = at::tensor(start_frames);
    out["expect.call_grad_enabled"] =
        at::tensor(grads).to(in.tensor("expect.call_grad_enabled").scalar_type());
  }
};

}  // namespace

ParityOutput run_diffusion_loss(const ParityInput& in) {
  const at::AutoGradMode grad(true);
  const training::DiffusionRecipe recipe = diffusion_recipe(in);
  RecordedDraws draws(in);
  RecordedBatches batches(in, {""});
  const training::FlowMatchingTerms terms = recipe.loss(batches.next(), draws);
  terms.loss.backward();
  const sampling::FlowMatchSchedule schedule(
      sampling::FlowMatchConfig::self_forcing(diffusion_options(in).timestep_shift));
  ParityOutput out = {
      {"expect.timestep", terms.timestep},
      {"expect.noisy_latent", swap_frames_and_channels(terms.x_t)},
      {"expect.flow_pred", swap_frames_and_channels(terms.flow)},
      {"expect.x0_pred", swap_frames_and_channels(schedule.flow_to_x0(
                             terms.flow, terms.x_t, sampling::frame_timestep(terms.timestep)))},
      {"expect.training_weight", terms.weight},
      {"expect.loss", terms.loss}};
  add_parameter_gradients(in, "generator", recipe.parameters(), out);
  return out;
}

ParityOutput run_backward_simulation(const ParityInput& in) {
  const at::AutoGradMode grad(true);
  const models::WanConfig config = network_config(in, "generator");
  const training::DistillationOptions options = distillation_options(in);
  models::TensorMap parameters = network_parameters(in, "generator");
  for (auto& [name, parameter] : parameters) parameter.set_requires_grad(true);
  const sampling::FlowMatchSchedule schedule(
      sampling::FlowMatchConfig::self_forcing(options.timestep_shift));
  const at::Tensor noise = latents_of(in, "noise"), context = in.input("prompt_embeds");
  RecordedDraws draws(in);
  ParityOutput out;
  SimulationRecorder recorder{.in = in, .schedule = schedule, .out = out};
  training::Simulation simulation;
  if (in.config().at("train").at("causal")) {
    const models::CausalWanDit model(config, parameters);
    const int64_t frame_tokens =
        noise.size(3) / config.patch_size[1] * (noise.size(4) / config.patch_size[2]);
    models::DitCache cache(config, noise.size(0), noise.size(2) * frame_tokens, noise.options());
    cache.gradient = in.config().at("cache_gradient") == "detached"
                         ? models::CacheGradient::kDetached
                         : models::CacheGradient::kStraightThrough;
    const pipelines::ChunkFlow flow = pipelines::bind_cache(model, context, cache);
    simulation = training::simulate_causal(
        [&](const at::Tensor& x, const at::Tensor& t, int64_t start_frame, int64_t step) {
          const at::Tensor v = flow(x, t, start_frame, step);
          recorder.call(v, x, t, start_frame);
          return v;
        },
        noise, options.simulation, schedule, draws);
    out["expect.cache_k.0"] = cache.buffers(0).k;
    out["expect.cache_v.1"] = cache.buffers(1).v;
  } else {
    const training::VideoGenerator generator(config, /*causal=*/false, parameters);
    simulation = training::simulate_bidirectional(
        [&](const at::Tensor& x, const at::Tensor& t) {
          const at::Tensor v = generator.flow(x, t, context);
          recorder.call(v, x, t, -1);
          return v;
        },
        noise, options.simulation, schedule, draws);
  }
  recorder.finish();
  add_range(simulation.range, out);
  out["expect.output"] = swap_frames_and_channels(simulation.latents);
  (simulation.latents * latents_of(in, "grad_output")).sum().backward();
  add_parameter_gradients(in, "generator", parameters, out);
  return out;
}

ParityOutput run_dmd_generator_loss(const ParityInput& in) {
  const at::AutoGradMode grad(true);
  const training::DistillationRecipe recipe = distillation_recipe(in);
  RecordedDraws draws(in);
  const auto terms = recipe.generator_loss(in.input("prompt_embeds"), draws);
  terms.dmd.loss.backward();
  const at::Tensor& video = terms.video.frames.latents;
  ParityOutput out = {{"expect.generated", swap_frames_and_channels(video)},
                      {"expect.timestep", terms.dmd.noisy.timestep},
                      {"expect.noisy_latent", swap_frames_and_channels(terms.dmd.noisy.x_t)},
                      {"expect.pred_fake_cond", swap_frames_and_channels(terms.dmd.fake_cond)},
                      {"expect.pred_real_cond", swap_frames_and_channels(terms.dmd.real_cond)},
                      {"expect.pred_real_uncond", swap_frames_and_channels(terms.dmd.real_uncond)},
                      {"expect.dmd_gradient", swap_frames_and_channels(terms.dmd.gradient)},
                      {"expect.dmdtrain_gradient_norm", terms.dmd.gradient.abs().mean()},
                      {"expect.loss", terms.dmd.loss}};
  if (terms.dmd.fake_uncond.defined())
    out["expect.pred_fake_uncond"] = swap_frames_and_channels(terms.dmd.fake_uncond);
  if (terms.video.frames.mask.defined()) {
    out["expect.gradient_mask"] =
        swap_frames_and_channels(terms.video.frames.mask.expand(video.sizes()));
  }
  add_range(terms.video.simulation.range, out);
  add_parameter_gradients(in, "generator", recipe.generator(), out);
  for (const auto& [name, parameter] : recipe.critic())
    MONARCH_CHECK(!parameter.grad().defined(), "[parity] the critic's ", name, " got a gradient");
  return out;
}

ParityOutput run_critic_loss(const ParityInput& in) {
  const at::AutoGradMode grad(true);
  const training::DistillationRecipe recipe = distillation_recipe(in);
  RecordedDraws draws(in);
  const auto terms = recipe.critic_loss(in.input("prompt_embeds"), draws);
  terms.critic.loss.backward();
  ParityOutput out = {{"expect.generated", swap_frames_and_channels(terms.video.frames.latents)},
                      {"expect.timestep", terms.critic.noisy.timestep},
                      {"expect.noisy_latent", swap_frames_and_channels(terms.critic.noisy.x_t)},
                      {"expect.pred_fake", swap_frames_and_channels(terms.critic.x0)},
                      {"expect.loss", terms.critic.loss}};
  add_parameter_gradients(in, "fake_score", recipe.critic(), out);
  for (const auto& [name, parameter] : recipe.generator())
    MONARCH_CHECK(!parameter.grad().defined(), "[parity] the generator's ", name,
                  " got a gradient");
  return out;
}

ParityOutput run_train_steps(const ParityInput& in) {
  const at::AutoGradMode grad(true);
  const bool distils = in.config().contains("fake_score");
  ParityOutput out;
  const auto run = [&](training::IterativeRecipe& recipe) {
    const auto steps = in.config().at("steps").get<int64_t>();
    for (int64_t step = 0; step < steps; ++step) {
      const std::string prefix = str_cat("step", step, '.');
      std::vector<std::string> batches{prefix};
      if (distils) batches = {prefix + "generator.", prefix + "critic."};
      if (distils && !in.has("input." + prefix + "generator.prompt_embeds"))
        batches.erase(batches.begin());
      RecordedDraws draws(in, prefix);
      RecordedBatches source(in, batches);
      for (const auto& [name, value] : recipe.iterate(step, source, draws))
        out["expect." + prefix + name] = at::scalar_tensor(value);
    }
  };
  if (distils) {
    training::DistillationRecipe recipe = distillation_recipe(in);
    const models::TensorMap generator = copy_of(recipe.generator());
    const models::TensorMap critic = copy_of(recipe.critic());
    run(recipe);
    add_parameters_after(in, "generator", generator, recipe.generator(), out);
    add_parameters_after(in, "fake_score", critic, recipe.critic(), out);
    add_parameters_after(in, "generator_ema", generator, recipe.average().average(), out);
  } else {
    training::DiffusionRecipe recipe = diffusion_recipe(in);
    const models::TensorMap generator = copy_of(recipe.parameters());
    run(recipe);
    add_parameters_after(in, "generator", generator, recipe.parameters(), out);
    add_parameters_after(in, "generator_ema", generator, recipe.average().average(), out);
  }
  return out;
}

// One process: the ranks' batches are accumulated, which gives their mean gradient.
ParityOutput run_data_parallel_step(const ParityInput& in) {
  const at::AutoGradMode grad(true);
  const auto ranks = in.config().at("ranks").get<int64_t>();
  const training::DiffusionRecipe recipe = diffusion_recipe(in);
  const models::TensorMap before = copy_of(recipe.parameters());
  ParityOutput out;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const std::string prefix = str_cat("rank", rank, '.');
    RecordedDraws draws(in, prefix);
    RecordedBatches batches(in, {prefix});
    const at::Tensor loss = recipe.loss(batches.next(), draws).loss;
    out["expect." + prefix + "loss"] = loss;
    (loss / static_cast<double>(ranks)).backward();
  }
  add_parameter_gradients(in, "generator", recipe.parameters(), out);
  training::TrainedNetwork trained(recipe.parameters(), diffusion_options(in).update, alone());
  trained.update();
  add_parameters_after(in, "generator", before, recipe.parameters(), out);
  return out;
}

}  // namespace monarch::apps
