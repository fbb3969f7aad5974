#include "monarch/training/recipes/diffusion.h"

#include <utility>

#include "monarch/base/error.h"
#include "monarch/training/checkpoint.h"

namespace monarch::training {

DiffusionRecipe::DiffusionRecipe(const models::WanConfig& config, bool causal,
                                 models::TensorMap parameters, DiffusionOptions options,
                                 const Team& team)
    : options_(options),
      trained_(std::move(parameters), options.update, team),
      generator_(config, causal, trained_.parameters(), /*cache_gradient=*/{}, trained_.layers()),
      ema_(trained_.start_average(options.ema.decay)),
      schedule_(sampling::FlowMatchConfig::self_forcing(options.timestep_shift)) {
  MONARCH_CHECK(options_.accumulation >= 1, "[monarch_training] accumulation is ",
                options_.accumulation, "; it must be at least 1");
}

FlowMatchingTerms DiffusionRecipe::loss(const Batch& batch, Draws& draws) const {
  return flow_matching_loss(
      [this](const at::Tensor& x_t, const at::Tensor& timestep, const at::Tensor& context) {
        return generator_.flow(x_t, timestep, context);
      },
      batch.latents, batch.context, options_.levels, schedule_, draws);
}

Metrics DiffusionRecipe::iterate(int64_t step, BatchSource& batches, Draws& draws) {
  const double share = 1.0 / static_cast<double>(options_.accumulation);
  double loss_sum = 0;
  for (int64_t i = 0; i < options_.accumulation; ++i) {
    const at::Tensor value = share * loss(batches.next(), draws).loss;
    value.backward();
    loss_sum += value.item<double>();
  }
  const double norm = trained_.update();
  trained_.update(ema_);
  if (step + 1 == options_.ema.start_step) trained_.restart(ema_);
  return {{"generator_loss", loss_sum},
          {"generator_grad_norm", norm},
          {"generator_lr", options_.update.lr}};
}

models::TensorMap DiffusionRecipe::state() const {
  models::TensorMap state = add_prefix(trained_.saved_parameters(), "generator.model.");
  state.merge(add_prefix(trained_.saved(ema_), "generator_ema.model."));
  state.merge(add_prefix(trained_.saved_optimizer(), "optimizer.generator."));
  return state;
}

void DiffusionRecipe::load_state(const models::TensorMap& state) {
  trained_.load(take_prefix(state, "generator.model."), take_prefix(state, "optimizer.generator."));
  trained_.load(ema_, take_prefix(state, "generator_ema.model."));
}

}  // namespace monarch::training
