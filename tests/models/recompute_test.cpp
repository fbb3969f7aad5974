// Activation checkpointing: the same numbers in less memory.
#include "monarch/models/wan/recompute.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/causal_dit.h"
#include "tests/models/support/tiny_dit.h"
#include "tests/support/live_bytes.h"

namespace monarch::models {
namespace {

enum class Pass { kBidirectional, kCausal, kCachedDetached, kCachedStraightThrough };

struct RecomputeCase {
  const char* name;
  Pass pass;
  bool monarch;
};

class RecomputeCases : public testing::TestWithParam<RecomputeCase> {
 protected:
  static WanConfig config(bool recompute) {
    WanConfig config = tiny_config();
    config.num_layers = 3;
    config.num_frame_per_block = 2;
    config.monarch = {.enable = GetParam().monarch, .num_iters = 1, .f_tied = 2, .h_reduce = 2};
    config.recompute_layers = recompute;
    return config;
  }

  // Two chunks, each with a recording pass over noisier latents and then a clean one, as training
  // by backward simulation has them.
  static at::Tensor cached(const CausalWanDit& model, const DitInput& input, CacheGradient mode) {
    DitCache cache(model.config(), 2, 4 * kFrameTokens, at::kDouble);
    cache.gradient = mode;
    std::vector<at::Tensor> outputs;
    for (const int64_t begin : {0, 2}) {
      const DitInput clean = frames_of(input, begin, begin + 2);
      DitInput noisy = clean;
      noisy.x = clean.x + 1;
      outputs.push_back(model.forward_cached(noisy, begin, cache));
      const at::NoGradGuard no_grad;
      model.forward_cached(clean, begin, cache);
    }
    return at::cat(outputs, 2);
  }

  static at::Tensor run(const TensorMap& weights, const DitInput& input, bool recompute) {
    switch (GetParam().pass) {
      case Pass::kBidirectional: return WanDit(config(recompute), weights).forward(input);
      case Pass::kCausal: return CausalWanDit(config(recompute), weights).forward_train(input);
      case Pass::kCachedDetached:
        return cached({config(recompute), weights}, input, CacheGradient::kDetached);
      case Pass::kCachedStraightThrough: break;
    }
    return cached({config(recompute), weights}, input, CacheGradient::kStraightThrough);
  }
};

TEST_P(RecomputeCases, GradientsAreThoseOfKeptActivations) {
  TensorMap kept = random_weights(config(false), at::kDouble), recomputed = kept;
  for (auto& [name, tensor] : kept) tensor = tensor.clone().set_requires_grad(true);
  for (auto& [name, tensor] : recomputed) tensor = tensor.clone().set_requires_grad(true);
  DitInput input = random_input(4, at::kDouble);
  const at::Tensor probe = normal({2, 4, 4, 4, 6}, 7, at::kDouble);
  const auto gradient_of_x = [&](const TensorMap& weights, bool recompute, at::Tensor& out) {
    input.x = input.x.detach().set_requires_grad(true);
    out = run(weights, input, recompute);  // caches and models are gone before backward
    (out * probe).sum().backward();
    return input.x.grad();
  };
  at::Tensor want, got;
  const at::Tensor want_x = gradient_of_x(kept, false, want);
  const at::Tensor got_x = gradient_of_x(recomputed, true, got);
  EXPECT_TRUE(at::equal(got, want));
  EXPECT_LT(difference(got_x, want_x), 1e-13);
  for (const auto& [name, tensor] : kept) {
    ASSERT_TRUE(tensor.grad().defined() && recomputed.at(name).grad().defined()) << name;
    // A key's bias moves all scores alike: its gradient is nothing but rounding.
    if (tensor.grad().norm().item<double>() < 1e-9) continue;
    EXPECT_LT(difference(recomputed.at(name).grad(), tensor.grad()), 1e-12) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, RecomputeCases,
    testing::Values(RecomputeCase{"bidirectional_dense", Pass::kBidirectional, false},
                    RecomputeCase{"bidirectional_monarch", Pass::kBidirectional, true},
                    RecomputeCase{"causal_dense", Pass::kCausal, false},
                    RecomputeCase{"causal_monarch", Pass::kCausal, true},
                    RecomputeCase{"detached_dense", Pass::kCachedDetached, false},
                    RecomputeCase{"detached_monarch", Pass::kCachedDetached, true},
                    RecomputeCase{"straight_through_dense", Pass::kCachedStraightThrough, false},
                    RecomputeCase{"straight_through_monarch", Pass::kCachedStraightThrough, true}),
    [](const auto& info) { return info.param.name; });

// A cache with a window moves its slots while recorded passes still refer to them.
TEST(Recompute, EvictionLeavesRecordedPassesAlone) {
  WanConfig config = tiny_config();
  config.local_attn_size = 2;
  const auto gradient = [&](bool recompute) {
    config.recompute_layers = recompute;
    TensorMap weights = random_weights(config, at::kDouble);
    for (auto& [name, tensor] : weights) tensor.set_requires_grad(true);
    const CausalWanDit model(config, weights);
    const DitInput input = random_input(4, at::kDouble);
    DitCache cache(config, 2, 2 * kFrameTokens, at::kDouble);
    cache.gradient = CacheGradient::kDetached;
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (int64_t frame = 0; frame < 4; ++frame)
      sum = sum + model.forward_cached(frames_of(input, frame, frame + 1), frame, cache).sum();
    sum.backward();
    return weights.at("blocks.0.self_attn.v.weight").grad();
  };
  EXPECT_LT(difference(gradient(true), gradient(false)), 1e-13);
}

// Peak of forward and backward, without the weights.
int64_t peak_bytes(int64_t layers, bool recompute) {
  WanConfig config = tiny_config();
  config.num_layers = layers;
  config.recompute_layers = recompute;
  TensorMap weights = random_weights(config);
  for (auto& [name, tensor] : weights) tensor.set_requires_grad(true);
  const WanDit model(config, weights);
  const DitInput input{
      .x = normal({1, 4, 4, 16, 24}, 1), .t = at::ones({1, 1}), .context = normal({1, 6, 12}, 2)};
  const LiveBytes live;
  model.forward(input).sum().backward();
  return live.peak();
}

TEST(Recompute, MemoryGrowsByTheTokensOfALayer) {
  const auto growth = [](bool recompute) {
    return static_cast<double>(peak_bytes(8, recompute) - peak_bytes(4, recompute)) / 4;
  };
  const WanConfig config = tiny_config();
  double gradients = 0;  // of a layer's weights
  for (const auto& [name, shape] : dit_parameter_shapes(config))
    if (name.starts_with("blocks.0."))
      gradients += 4.0 * static_cast<double>(c10::multiply_integers(shape));
  const double tokens = 4.0 * 4 * 8 * 12 * static_cast<double>(config.dim);
  EXPECT_LE(growth(true), tokens + gradients);
  EXPECT_GT(growth(false), 5 * (tokens + gradients));
}

}  // namespace
}  // namespace monarch::models
