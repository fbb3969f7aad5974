// The networks of a recipe as its losses call them.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/dit.h"
#include "monarch/training/losses/distribution_matching.h"
#include "monarch/training/losses/flow_matching.h"
#include "monarch/training/simulation.h"

namespace monarch::training {

// Caches for a video of `noise` [B, C, F, H, W], of as many frames as generation has: all, or
// local_attn_size. (The published training keeps all, so that its window never closes.)
models::DitCache cache_for(const models::WanConfig& config, const at::Tensor& noise);

// The network that makes videos, causal or bidirectional. Const and thread-safe.
class VideoGenerator {
 public:
  // Shares the parameters: updates in place take effect. `cache_gradient`: of causal simulations;
  // empty: as DitCache has it, straight-through for dense attention and detached for Monarch.
  // `layers` gives the layers' parameters if they are not among the others.
  VideoGenerator(const models::WanConfig& config, bool causal, const models::TensorMap& parameters,
                 std::optional<models::CacheGradient> cache_gradient = {},
                 std::shared_ptr<models::LayerSource> layers = nullptr);

  bool causal() const { return causal_ != nullptr; }
  const models::WanConfig& config() const { return config_; }

  // The flow of whole videos, each frame with its own timestep if causal.
  at::Tensor flow(const at::Tensor& x_t, const at::Tensor& timestep,
                  const at::Tensor& context) const;

  // A video from `noise` by backward simulation, with caches of its own.
  Simulation simulate(const at::Tensor& noise, const at::Tensor& context,
                      const SimulationOptions& options, const sampling::FlowMatchSchedule& schedule,
                      Draws& draws) const;

 private:
  models::WanConfig config_;
  std::unique_ptr<const models::WanDit> bidirectional_;  // one of the two
  std::unique_ptr<const models::CausalWanDit> causal_;
  std::optional<models::CacheGradient> cache_gradient_;
};

// A dense bidirectional model as teacher or critic; `schedule` turns its flow into x0. Both are
// shared with the result.
ScoreModel score_model(std::shared_ptr<const models::WanDit> model,
                       std::shared_ptr<const sampling::FlowMatchSchedule> schedule);

}  // namespace monarch::training
