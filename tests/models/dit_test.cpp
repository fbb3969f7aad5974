#include "monarch/models/wan/dit.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/rope.h"
#include "monarch/models/wan/tensors.h"
#include "tests/models/support/tiny_dit.h"

namespace monarch::models {
namespace {

TEST(WanDit, StoredTypesOfWeights) {
  const at::NoGradGuard no_grad;
  const WanConfig config = tiny_config();
  TensorMap weights = random_weights(config), rounded, wide;
  for (auto& [name, tensor] : weights) {
    rounded[name] = tensor.to(at::kBFloat16);
    wide[name] = rounded[name].to(at::kFloat);
  }
  DitInput input = random_input(2);
  input.t = input.t.select(1, 0);
  const at::Tensor want = WanDit(config, wide).forward(input);
  // Weights stored in bfloat16, computed in float32: the same numbers.
  EXPECT_EQ(difference(WanDit(config, rounded).forward(input), want), 0);
  // Everything in 16 bits: near.
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    DitInput narrow = input;
    narrow.x = input.x.to(type);
    const at::Tensor out = WanDit(config, rounded).forward(narrow);
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_LT(difference(out.to(at::kFloat), want), 0.03);
  }
}

TEST(WanDit, InferenceEqualsRecordingPass) {
  for (const bool monarch : {false, true}) {
    WanConfig config = tiny_config();
    config.monarch = {.enable = monarch, .num_iters = 2};
    TensorMap weights = random_weights(config);
    DitInput input = random_input(2);
    const at::Tensor x = input.x.clone();
    at::Tensor inferred;
    {
      const at::NoGradGuard no_grad;
      inferred = WanDit(config, weights).forward(input);
    }
    EXPECT_TRUE(at::equal(input.x, x)) << "the input was changed";
    for (auto& [name, tensor] : weights) tensor.requires_grad_();
    EXPECT_LT(difference(WanDit(config, weights).forward(input).detach(), inferred), 1e-6);
  }
}

TEST(WanDit, GradientsMatchFiniteDifferences) {
  const at::ScalarType type = at::kDouble;
  WanConfig config = tiny_config();
  config.monarch.enable = true;
  TensorMap weights = random_weights(config, type);
  DitInput input = random_input(1, type);
  for (auto& [name, tensor] : weights) tensor.requires_grad_();
  const WanDit model(config, weights);
  const at::Tensor direction = normal({2, 4, 1, 4, 6}, 7, type);
  const auto loss = [&] { return (model.forward(input) * direction).sum(); };
  std::vector<at::Tensor> leaves;
  for (const auto& [name, tensor] : weights) leaves.push_back(tensor);
  const std::vector<at::Tensor> grads = torch::autograd::grad({loss()}, leaves);
  const at::NoGradGuard no_grad;
  uint64_t seed = 900;
  size_t index = 0;
  for (auto& [name, tensor] : weights) {
    const at::Tensor step = normal(tensor.sizes(), seed++, type).mul_(1e-5);
    tensor += step;
    const double above = loss().item<double>();
    tensor -= 2 * step;
    const double below = loss().item<double>();
    tensor += step;
    const double want = (above - below) / 2;
    const double got = (grads[index++] * step).sum().item<double>();
    EXPECT_NEAR(got, want, 1e-6 * std::abs(want) + 1e-11) << name;
  }
}

TEST(WanDit, OneContextServesABatch) {
  const at::NoGradGuard no_grad;
  const WanConfig config = tiny_config();
  const WanDit model(config, random_weights(config));
  DitInput input = random_input(1);
  input.context = input.context.slice(0, 0, 1);
  const at::Tensor got = model.forward(input);
  input.context = input.context.repeat({2, 1, 1});
  EXPECT_LT(difference(got, model.forward(input)), 1e-6);
}

TEST(WanDit, RandomWeightsAreAStart) {
  const WanConfig config = tiny_config();
  const TensorMap weights = random_dit_weights(config, seeded(1));
  const at::NoGradGuard no_grad;
  EXPECT_EQ(WanDit(config, weights).forward(random_input(1)).abs().max().item<float>(), 0);
  EXPECT_EQ(weights.at("blocks.0.self_attn.q.bias").abs().max().item<float>(), 0);
  EXPECT_EQ(weights.at("blocks.1.norm3.weight").min().item<float>(), 1);
  const float bound = std::sqrt(6.0F / (24 + 40));
  EXPECT_LE(weights.at("blocks.0.ffn.0.weight").abs().max().item<float>(), bound);
  EXPECT_GT(weights.at("blocks.0.ffn.0.weight").abs().max().item<float>(), 0.9F * bound);
  EXPECT_NEAR(weights.at("time_embedding.0.weight").std().item<float>(), 0.02, 0.003);
  EXPECT_TRUE(at::equal(weights.at("head.modulation"),
                        random_dit_weights(config, seeded(1)).at("head.modulation")));
}

TEST(WanDit, ReportsAllWrongWeightsAtOnce) {
  const WanConfig config = tiny_config();
  TensorMap weights = random_weights(config);
  weights.erase("blocks.1.ffn.2.bias");
  weights["head.modulation"] = at::zeros({1, 2, 23});
  weights["vace_blocks.0.weight"] = at::zeros({1});
  EXPECT_EQ(message_of([&] { WanDit(config, weights); }),
            "[monarch_models] the weights do not fit the Wan t2v transformer of 2 layers:\n"
            "  1 missing: blocks.1.ffn.2.bias\n"
            "  1 misshapen: head.modulation is [1, 2, 23], needs [1, 2, 24]\n"
            "  1 unused: vace_blocks.0.weight\n"
            "  check that the configuration belongs to this checkpoint");
}

TEST(WanDit, RefusesWrongInputs) {
  const WanConfig config = tiny_config();
  const WanDit model(config, random_weights(config));
  DitInput input = random_input(1);
  input.x = at::zeros({2, 4, 1, 5, 6});
  EXPECT_EQ(message_of([&] { model.forward(input); }),
            "[monarch_models] latent height 5 must be a positive multiple of the patch size 2");
  input.x = at::zeros({2, 3, 1, 4, 6});
  EXPECT_EQ(message_of([&] { model.forward(input); }),
            "[monarch_models] the model takes 4 latent channels; x has 3");
  input = random_input(1);
  input.context = at::zeros({2, 7, 12});
  EXPECT_EQ(message_of([&] { model.forward(input); }),
            "[monarch_models] context must be [batch, at most 6, 12]; got [2, 7, 12]");
}

TEST(WanConfig, ReadsPublishedFiles) {
  const WanConfig config = WanConfig::from_json(
      Json::parse(R"({"_class_name": "WanModel", "_diffusers_version": "0.30.0", "dim": 1536,
                      "eps": 1e-06, "ffn_dim": 8960, "freq_dim": 256, "in_dim": 16,
                      "model_type": "t2v", "num_heads": 12, "num_layers": 30, "out_dim": 16,
                      "text_len": 512})"));
  EXPECT_EQ(config.head_dim(), 128);
  EXPECT_EQ(config.text_dim, 4096);
  EXPECT_EQ(message_of([] {
              WanConfig::from_json(Json{{"num_layer", 3}});
            }),
            "[config] unknown key 'num_layer' in model; did you mean 'num_layers'?");
  EXPECT_EQ(message_of([] {
              WanConfig::from_json(Json{{"num_heads", 7}});
            }),
            "[monarch_models] dim 1536 must split into 7 heads of even size");
}

TEST(Rope, PositionsBeyondTheOriginalTable) {
  // The original's table ends at 1024; live streams do not.
  const at::Tensor far = rope_table({1, 1, 1}, 5000, 12);
  EXPECT_NEAR(at::real(far)[0][0].item<float>(), std::cos(5000.0), 1e-6);
  EXPECT_TRUE(at::equal(rope_table({3, 2, 2}, 5, 12).slice(0, 4, 8), rope_table({1, 2, 2}, 6, 12)));
}

TEST(Tensors, SurviveTheirCheckpoint) {
  struct Memory : io::Checkpoint {
    explicit Memory(std::vector<io::TensorEntry> entries) {
      set_tensors(std::move(entries), "memory");
    }
  };
  const TensorMap tensors{{"a", normal({3, 2}, 1)}, {"b", at::arange(5)}};
  std::vector<at::Tensor> storage;
  const auto checkpoint = std::make_shared<Memory>(to_entries(tensors, storage));
  const TensorMap back = to_tensors(checkpoint, at::kBFloat16);
  EXPECT_TRUE(at::equal(back.at("a"), tensors.at("a").to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(back.at("b"), tensors.at("b")));
}

}  // namespace
}  // namespace monarch::models
