// Layers that keep less for their backward pass than autograd would: the same numbers in less
// memory.
#include "monarch/models/wan/network_part.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <vector>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/layer_names.h"
#include "monarch/models/wan/layer_source.h"
#include "tests/models/support/tiny_dit.h"
#include "tests/support/live_bytes.h"

namespace monarch::models {
namespace {

// Layers whose weights are NaN between forward and backward. Gradients go to `whole`.
class LeavingLayers : public LayerSource {
 public:
  explicit LeavingLayers(const TensorMap& whole) {
    for (const auto& [name, tensor] : whole) {
      const std::optional<size_t> layer = layer_of(name);
      if (layer && layers_.size() <= *layer) layers_.resize(*layer + 1);
      (layer ? layers_[*layer] : outside_)[name] = tensor;
    }
  }
  const TensorMap& outside() const { return outside_; }
  const TensorMap& take(size_t layer) override { return layers_[layer]; }
  void gradients_are_ready(size_t /*layer*/) override {}
  std::shared_ptr<HeldLayer> hold(size_t layer) override {
    return std::make_shared<Held>(layers_[layer]);
  }

 private:
  class Held : public HeldLayer {
   public:
    explicit Held(const TensorMap& whole) : whole_(whole) {
      for (const auto& [name, tensor] : whole)
        held_[name] = tensor.detach().clone().set_requires_grad(true);
    }
    const TensorMap& tensors() const override { return held_; }
    // Autograd does not see these changes: it would object to them.
    void leave() override {
      for (const auto& [name, tensor] : held_)
        tensor.variable_data().fill_(std::numeric_limits<double>::quiet_NaN());
    }
    void come_back() override {
      for (const auto& [name, tensor] : held_) tensor.variable_data().copy_(whole_.at(name));
    }
    void gradients_are_ready() override {
      for (const auto& [name, tensor] : held_) {
        at::Tensor& sum = whole_.at(name).mutable_grad();
        sum = sum.defined() ? sum + tensor.grad() : tensor.grad();
      }
      leave();
    }

   private:
    TensorMap whole_, held_;
  };

  std::vector<TensorMap> layers_;
  TensorMap outside_;
};

enum class Keeps { kAll, kInputs, kActivations };

template <class Model>
Model make_model(WanConfig config, const TensorMap& weights, Keeps keeps) {
  config.recompute_layers = keeps == Keeps::kInputs;
  if (keeps != Keeps::kActivations) return Model(config, weights);
  const auto layers = std::make_shared<LeavingLayers>(weights);
  return Model(config, layers->outside(), layers);
}

enum class Pass { kBidirectional, kCausal, kCachedDetached, kCachedStraightThrough };

struct PartCase {
  const char* name;
  Pass pass;
  bool monarch;
};

class NetworkPartCases : public testing::TestWithParam<PartCase> {
 protected:
  static WanConfig config() {
    WanConfig config = tiny_config();
    config.num_layers = 3;
    config.num_frame_per_block = 2;
    config.monarch = {.enable = GetParam().monarch, .num_iters = 1, .f_tied = 2, .h_reduce = 2};
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

  static at::Tensor run(const TensorMap& weights, const DitInput& input, Keeps keeps) {
    if (GetParam().pass == Pass::kBidirectional)
      return make_model<WanDit>(config(), weights, keeps).forward(input);
    const auto model = make_model<CausalWanDit>(config(), weights, keeps);
    switch (GetParam().pass) {
      case Pass::kCausal: return model.forward_train(input);
      case Pass::kCachedDetached: return cached(model, input, CacheGradient::kDetached);
      default: return cached(model, input, CacheGradient::kStraightThrough);
    }
  }
};

TEST_P(NetworkPartCases, GradientsAreThoseOfAutograd) {
  const TensorMap start = random_weights(config(), at::kDouble);
  DitInput input = random_input(4, at::kDouble);
  const at::Tensor probe = normal({2, 4, 4, 4, 6}, 7, at::kDouble);
  struct Result {
    at::Tensor out, of_x;
    TensorMap weights;
  };
  const auto result_of = [&](Keeps keeps) {
    Result result;
    for (const auto& [name, tensor] : start)
      result.weights[name] = tensor.clone().set_requires_grad(true);
    input.x = input.x.detach().set_requires_grad(true);
    result.out = run(result.weights, input, keeps);  // caches and models are gone before backward
    (result.out * probe).sum().backward();
    result.of_x = input.x.grad();
    return result;
  };
  const Result want = result_of(Keeps::kAll);
  for (const Keeps keeps : {Keeps::kInputs, Keeps::kActivations}) {
    SCOPED_TRACE(keeps == Keeps::kInputs ? "inputs" : "activations");
    const Result got = result_of(keeps);
    EXPECT_TRUE(at::equal(got.out, want.out));
    EXPECT_LT(difference(got.of_x, want.of_x), 1e-13);
    for (const auto& [name, tensor] : want.weights) {
      ASSERT_TRUE(tensor.grad().defined() && got.weights.at(name).grad().defined()) << name;
      // A key's bias moves all scores alike: its gradient is nothing but rounding.
      if (tensor.grad().norm().item<double>() < 1e-9) continue;
      EXPECT_LT(difference(got.weights.at(name).grad(), tensor.grad()), 1e-12) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, NetworkPartCases,
    testing::Values(PartCase{"bidirectional_dense", Pass::kBidirectional, false},
                    PartCase{"bidirectional_monarch", Pass::kBidirectional, true},
                    PartCase{"causal_dense", Pass::kCausal, false},
                    PartCase{"causal_monarch", Pass::kCausal, true},
                    PartCase{"detached_dense", Pass::kCachedDetached, false},
                    PartCase{"detached_monarch", Pass::kCachedDetached, true},
                    PartCase{"straight_through_dense", Pass::kCachedStraightThrough, false},
                    PartCase{"straight_through_monarch", Pass::kCachedStraightThrough, true}),
    [](const auto& info) { return info.param.name; });

// A cache with a window moves its slots while recorded passes still refer to them.
TEST(NetworkPart, EvictionLeavesRecordedPassesAlone) {
  WanConfig config = tiny_config();
  config.local_attn_size = 2;
  const auto gradient = [&](Keeps keeps) {
    TensorMap weights = random_weights(config, at::kDouble);
    for (auto& [name, tensor] : weights) tensor.set_requires_grad(true);
    const auto model = make_model<CausalWanDit>(config, weights, keeps);
    const DitInput input = random_input(4, at::kDouble);
    DitCache cache(config, 2, 2 * kFrameTokens, at::kDouble);
    cache.gradient = CacheGradient::kDetached;
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (int64_t frame = 0; frame < 4; ++frame)
      sum = sum + model.forward_cached(frames_of(input, frame, frame + 1), frame, cache).sum();
    sum.backward();
    return weights.at("blocks.0.self_attn.v.weight").grad();
  };
  const at::Tensor want = gradient(Keeps::kAll);
  EXPECT_LT(difference(gradient(Keeps::kInputs), want), 1e-13);
  EXPECT_LT(difference(gradient(Keeps::kActivations), want), 1e-13);
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

TEST(NetworkPart, MemoryGrowsByTheTokensOfALayer) {
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
