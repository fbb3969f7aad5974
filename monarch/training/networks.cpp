#include "monarch/training/networks.h"

#include <algorithm>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::training {

models::DitCache cache_for(const models::WanConfig& config, const at::Tensor& noise) {
  const int64_t frame_tokens =
      (noise.size(3) / config.patch_size[1]) * (noise.size(4) / config.patch_size[2]);
  const int64_t frames = config.local_attn_size == -1
                             ? noise.size(2)
                             : std::min(noise.size(2), config.local_attn_size);
  return {config, noise.size(0), frames * frame_tokens, noise.options()};
}

VideoGenerator::VideoGenerator(const models::WanConfig& config, bool causal,
                               const models::TensorMap& parameters,
                               std::optional<models::CacheGradient> cache_gradient,
                               std::shared_ptr<models::LayerSource> layers)
    : config_(config), cache_gradient_(cache_gradient) {
  if (causal) {
    causal_ = std::make_unique<const models::CausalWanDit>(config, parameters, std::move(layers));
  } else {
    bidirectional_ = std::make_unique<const models::WanDit>(config, parameters, std::move(layers));
  }
}

at::Tensor VideoGenerator::flow(const at::Tensor& x_t, const at::Tensor& timestep,
                                const at::Tensor& context) const {
  if (causal_) return causal_->forward_train({.x = x_t, .t = timestep, .context = context});
  return bidirectional_->forward({.x = x_t, .t = timestep.select(1, 0), .context = context});
}

Simulation VideoGenerator::simulate(const at::Tensor& noise, const at::Tensor& context,
                                    const SimulationOptions& options,
                                    const sampling::FlowMatchSchedule& schedule,
                                    Draws& draws) const {
  if (!causal_) {
    return simulate_bidirectional(
        [&](const at::Tensor& x, const at::Tensor& t) { return flow(x, t, context); }, noise,
        options, schedule, draws);
  }
  models::DitCache cache = cache_for(config_, noise);
  if (cache_gradient_) cache.gradient = *cache_gradient_;
  return simulate_causal(pipelines::bind_cache(*causal_, context, cache), noise, options, schedule,
                         draws);
}

ScoreModel score_model(std::shared_ptr<const models::WanDit> model,
                       std::shared_ptr<const sampling::FlowMatchSchedule> schedule) {
  return [model = std::move(model), schedule = std::move(schedule)](
             const at::Tensor& x_t, const at::Tensor& timestep, const at::Tensor& context) {
    const at::Tensor flow =
        model->forward({.x = x_t, .t = timestep.select(1, 0), .context = context});
    return schedule->flow_to_x0(flow, x_t, sampling::frame_timestep(timestep));
  };
}

}  // namespace monarch::training
