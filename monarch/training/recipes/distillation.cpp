#include "monarch/training/recipes/distillation.h"

#include <utility>

#include "monarch/base/error.h"
#include "monarch/training/checkpoint.h"

namespace monarch::training {
namespace {

// Draws under names that begin with `scope`.
class ScopedDraws : public Draws {
 public:
  ScopedDraws(Draws& draws, std::string scope) : draws_(draws), scope_(std::move(scope)) {}

  at::Tensor normal(const std::string& what, const pipelines::LatentShape& shape,
                    const at::TensorOptions& options) override {
    return draws_.normal(scope_ + what, shape, options);
  }
  at::Tensor integers(const std::string& what, int64_t low, int64_t high,
                      at::IntArrayRef shape) override {
    return draws_.integers(scope_ + what, low, high, shape);
  }
  at::Tensor common_integers(const std::string& what, int64_t low, int64_t high,
                             at::IntArrayRef shape) override {
    return draws_.common_integers(scope_ + what, low, high, shape);
  }

 private:
  Draws& draws_;
  std::string scope_;
};

ScoreModel critic_model(const models::WanConfig& config, const TrainedNetwork& critic,
                        double timestep_shift) {
  return score_model(
      std::make_shared<const models::WanDit>(config, critic.parameters(), critic.layers()),
      std::make_shared<const sampling::FlowMatchSchedule>(
          sampling::FlowMatchConfig::self_forcing(timestep_shift)));
}

}  // namespace

DistillationRecipe::DistillationRecipe(Networks networks, DistillationOptions options,
                                       const Team& team)
    : options_(std::move(options)),
      trained_generator_(std::move(networks.generator), options_.generator, team),
      trained_critic_(std::move(networks.critic), options_.critic, team),
      generator_(networks.generator_config, networks.causal, trained_generator_.parameters(),
                 networks.cache_gradient, trained_generator_.layers()),
      teacher_(std::move(networks.teacher)),
      critic_(critic_model(networks.critic_config, trained_critic_, options_.score_timestep_shift)),
      negative_context_(std::move(networks.negative_context)),
      encode_last_(std::move(networks.encode_last)),
      latent_options_(networks.latent_options),
      ema_(trained_generator_.start_average(options_.ema.decay)),
      schedule_(sampling::FlowMatchConfig::self_forcing(options_.timestep_shift)) {
  MONARCH_CHECK(options_.generator_every >= 1 && options_.accumulation >= 1,
                "[monarch_training] dfake_gen_update_ratio is ", options_.generator_every,
                ", accumulation ", options_.accumulation, "; both must be at least 1");
}

DistillationRecipe::Simulated DistillationRecipe::simulate(const at::Tensor& context,
                                                           Draws& draws) const {
  const at::Tensor noise = draws.normal("noise",
                                        {.batch = context.size(0),
                                         .channels = options_.channels,
                                         .frames = draw_num_frames(options_.simulation, draws),
                                         .height = options_.height,
                                         .width = options_.width},
                                        latent_options_);
  Simulated result;
  result.simulation = generator_.simulate(noise, context, options_.simulation, schedule_, draws);
  result.frames = last_frames(result.simulation.latents, options_.simulation, encode_last_);
  return result;
}

DistillationRecipe::GeneratorTerms DistillationRecipe::generator_loss(const at::Tensor& context,
                                                                      Draws& draws) const {
  GeneratorTerms terms;
  terms.video = simulate(context, draws);
  const at::Tensor negative =
      negative_context_.expand({context.size(0), negative_context_.size(1), -1});
  terms.dmd = dmd_generator_loss(terms.video.frames, terms.video.simulation.range, teacher_,
                                 critic_, context, negative, options_.guidance,
                                 options_.score_noise, schedule_, draws);
  return terms;
}

DistillationRecipe::CriticLossTerms DistillationRecipe::critic_loss(const at::Tensor& context,
                                                                    Draws& draws) const {
  CriticLossTerms terms;
  {
    const at::NoGradGuard no_grad;
    terms.video = simulate(context, draws);
  }
  terms.critic = training::critic_loss(terms.video.frames.latents, terms.video.simulation.range,
                                       critic_, context, options_.critic_target,
                                       options_.score_noise, schedule_, draws);
  return terms;
}

void DistillationRecipe::update_generator(int64_t step, BatchSource& batches, Draws& draws,
                                          Metrics& metrics) {
  const double share = 1.0 / static_cast<double>(options_.accumulation);
  double loss = 0, size = 0;
  for (int64_t i = 0; i < options_.accumulation; ++i) {
    const GeneratorTerms terms = generator_loss(batches.next().context, draws);
    (share * terms.dmd.loss).backward();
    loss += share * terms.dmd.loss.item<double>();
    size += share * terms.dmd.gradient.abs().mean().item<double>();
  }
  const double norm = trained_generator_.update();
  if (step >= options_.ema.start_step) trained_generator_.update(ema_);
  metrics.insert(metrics.end(), {{"generator_loss", loss},
                                 {"generator_grad_norm", norm},
                                 {"dmdtrain_gradient_norm", size},
                                 {"generator_lr", options_.generator.lr}});
}

void DistillationRecipe::update_critic(BatchSource& batches, Draws& draws, Metrics& metrics) {
  const double share = 1.0 / static_cast<double>(options_.accumulation);
  double loss = 0;
  for (int64_t i = 0; i < options_.accumulation; ++i) {
    const at::Tensor value = share * critic_loss(batches.next().context, draws).critic.loss;
    value.backward();
    loss += value.item<double>();
  }
  metrics.insert(metrics.end(), {{"critic_loss", loss},
                                 {"critic_grad_norm", trained_critic_.update()},
                                 {"critic_lr", options_.critic.lr}});
}

Metrics DistillationRecipe::iterate(int64_t step, BatchSource& batches, Draws& draws) {
  Metrics metrics;
  if (step % options_.generator_every == 0) {
    ScopedDraws scoped(draws, "generator.");
    update_generator(step, batches, scoped, metrics);
  }
  ScopedDraws scoped(draws, "critic.");
  update_critic(batches, scoped, metrics);
  if (step + 1 == options_.ema.start_step) trained_generator_.restart(ema_);
  return metrics;
}

models::TensorMap DistillationRecipe::state() const {
  models::TensorMap state = add_prefix(trained_generator_.saved_parameters(), "generator.model.");
  state.merge(add_prefix(trained_critic_.saved_parameters(), "critic.model."));
  state.merge(add_prefix(trained_generator_.saved(ema_), "generator_ema.model."));
  state.merge(add_prefix(trained_generator_.saved_optimizer(), "optimizer.generator."));
  state.merge(add_prefix(trained_critic_.saved_optimizer(), "optimizer.critic."));
  return state;
}

void DistillationRecipe::load_state(const models::TensorMap& state) {
  trained_generator_.load(take_prefix(state, "generator.model."),
                          take_prefix(state, "optimizer.generator."));
  trained_critic_.load(take_prefix(state, "critic.model."),
                       take_prefix(state, "optimizer.critic."));
  trained_generator_.load(ema_, take_prefix(state, "generator_ema.model."));
}

}  // namespace monarch::training
