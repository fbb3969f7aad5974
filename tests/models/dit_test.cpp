#include "monarch/models/wan/dit.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/models/wan/causal_dit.h"
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

// ------------------------------------------------------------------------------------------------

struct CausalCase {
  const char* name;
  ops::MonarchOptions monarch;
  int64_t chunk;
  const char* rules = "[]";  // exceptions, JSON
};

class CausalCases : public testing::TestWithParam<CausalCase> {
 protected:
  WanConfig config() const {
    WanConfig config = tiny_config();
    config.monarch = GetParam().monarch;
    config.num_frame_per_block = GetParam().chunk;
    config.attention = attention_rules_from_json(Json::parse(GetParam().rules), "attention");
    return config;
  }
};

TEST_P(CausalCases, CachedEqualsWhole) {
  const at::NoGradGuard no_grad;
  const int64_t chunk = GetParam().chunk, frames = 3 * chunk;
  const CausalWanDit model(config(), random_weights(config()));
  const DitInput input = random_input(frames);
  const at::Tensor whole = model.forward_train(input);
  DitCache cache(config(), 2, frames * kFrameTokens, at::kFloat);
  for (int run = 0; run < 2; ++run) {
    for (int64_t begin = 0; begin < frames; begin += chunk) {
      DitInput part = frames_of(input, begin, begin + chunk);
      DitInput noisy = part;
      noisy.x = noisy.x + 1;
      model.forward_cached(noisy, begin, cache);  // overwritten by the next pass
      const at::Tensor out = model.forward_cached(part, begin, cache);
      EXPECT_LT(difference(out, whole.slice(2, begin, begin + chunk)), 2e-6) << "frame " << begin;
    }
    EXPECT_EQ(cache.local_end(), frames * kFrameTokens);
    cache.reset();
  }
}

TEST_P(CausalCases, NoChunkSeesTheFuture) {
  const at::NoGradGuard no_grad;
  const int64_t chunk = GetParam().chunk;
  const CausalWanDit model(config(), random_weights(config()));
  DitInput input = random_input(2 * chunk);
  const at::Tensor before = model.forward_train(input).slice(2, 0, chunk).clone();
  input.x.slice(2, chunk, 2 * chunk).fill_(3);
  EXPECT_TRUE(at::equal(model.forward_train(input).slice(2, 0, chunk), before));
}

TEST_P(CausalCases, GradientsThroughTheCache) {
  TensorMap weights = random_weights(config(), at::kDouble);
  const int64_t chunk = GetParam().chunk, tokens = 2 * chunk * kFrameTokens;
  const at::Tensor key_bias = weights.at("blocks.0.self_attn.k.bias").requires_grad_();
  const CausalWanDit model(config(), weights);
  const DitInput input = random_input(2 * chunk, at::kDouble);
  const DitInput first = frames_of(input, 0, chunk), second = frames_of(input, chunk, 2 * chunk);
  const auto gradient = [&](const at::Tensor& out) {
    return torch::autograd::grad({out.sum()}, {key_bias})[0];
  };
  at::Tensor inferred, constant_past;
  {
    const at::NoGradGuard no_grad;
    DitCache cache(config(), 2, tokens, at::kDouble);
    model.forward_cached(first, 0, cache);
    inferred = model.forward_cached(second, chunk, cache);
  }
  for (const CacheGradient mode : {CacheGradient::kDetached, CacheGradient::kStraightThrough}) {
    DitCache cache(config(), 2, tokens, at::kDouble);
    cache.gradient = mode;
    const at::Tensor first_out = model.forward_cached(first, 0, cache);
    {
      const at::NoGradGuard no_grad;  // the clean pass that rewrites the chunk
      model.forward_cached(first, 0, cache);
    }
    const at::Tensor out = model.forward_cached(second, chunk, cache);
    EXPECT_LT(difference(out.detach(), inferred), 1e-12);
    // A later pass must not disturb the graph of an earlier one.
    model.forward_cached(second, chunk, cache);
    const at::Tensor grad = gradient(out);
    if (mode == CacheGradient::kDetached) {
      constant_past = grad;
      EXPECT_NO_THROW(gradient(first_out));
    } else {
      // The clean pass had the same input, so straight-through is the gradient of the whole.
      EXPECT_GT(difference(constant_past, grad), 1e-3);
      const at::Tensor whole = model.forward_train(input).slice(2, chunk, 2 * chunk);
      EXPECT_LT(difference(grad, gradient(whole)), 1e-9);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, CausalCases,
    testing::Values(
        CausalCase{"dense", {}, 1}, CausalCase{"dense_chunks", {}, 3},
        CausalCase{"monarch", {.enable = true}, 1},
        CausalCase{"monarch_tiled",
                   {.enable = true, .num_iters = 1, .f_tied = 2, .h_reduce = 2, .w_reduce = 3},
                   2},
        CausalCase{"hybrid",
                   {.enable = true, .num_iters = 1, .f_tied = 2, .h_reduce = 2, .w_reduce = 3},
                   2,
                   R"([{"preset": "dense", "heads": 1, "layers": 0},
                            {"preset": "monarchrt", "layers": 1}])"}),
    [](const auto& info) { return info.param.name; });

TEST(DitCache, EvictsBehindTheSink) {
  const at::NoGradGuard no_grad;
  WanConfig config = tiny_config();
  config.local_attn_size = 4;
  config.sink_size = 1;
  const CausalWanDit model(config, random_weights(config));
  const DitInput input = random_input(7);
  DitCache cache(config, 2, 4 * kFrameTokens, at::kFloat);
  std::vector<at::Tensor> keys;  // of each frame in layer 0, when written
  for (int64_t frame = 0; frame < 7; ++frame) {
    model.forward_cached(frames_of(input, frame, frame + 1), frame, cache);
    keys.push_back(
        cache.buffers(0).k.slice(1, cache.local_end() - kFrameTokens, cache.local_end()).clone());
  }
  EXPECT_EQ(cache.local_end(), 4 * kFrameTokens);
  EXPECT_EQ(cache.global_end(), 7 * kFrameTokens);
  EXPECT_TRUE(at::equal(cache.buffers(0).k, at::cat({keys[0], keys[4], keys[5], keys[6]}, 1)));
}

TEST(DitCache, KeepsTheContextUntilToldOtherwise) {
  const at::NoGradGuard no_grad;
  const WanConfig config = tiny_config();
  const CausalWanDit model(config, random_weights(config));
  DitInput input = random_input(1);
  DitCache cache(config, 2, kFrameTokens, at::kFloat);
  const at::Tensor first = model.forward_cached(input, 0, cache);
  input.context = input.context + 1;
  EXPECT_TRUE(at::equal(model.forward_cached(input, 0, cache), first));
  cache.forget_context();
  EXPECT_GT(difference(model.forward_cached(input, 0, cache), first), 1e-3);
}

TEST(DitCache, RefusesWhatDoesNotFit) {
  const at::NoGradGuard no_grad;
  const WanConfig config = tiny_config();
  const CausalWanDit model(config, random_weights(config));
  const DitInput input = random_input(2);
  DitCache cache(config, 2, 3 * kFrameTokens, at::kFloat);
  EXPECT_EQ(message_of([&] { model.forward_cached(input, 1, cache); }),
            "[monarch_models] the chunk starts at frame 1, but the cache ends at frame 0; frames "
            "must follow one another");
  model.forward_cached(input, 0, cache);
  EXPECT_EQ(
      message_of([&] { model.forward_cached(input, 2, cache); }),
      "[monarch_models] 12 tokens from frame 2 on do not fit the KV cache of 18 tokens, which "
      "holds 12; set local_attn_size, or use a larger cache");
  DitCache wide(config, 2, 3 * kFrameTokens, at::kDouble);
  EXPECT_EQ(
      message_of([&] { model.forward_cached(input, 0, wide); }),
      "[monarch_models] the KV cache holds Double on cpu for a batch of 2, the pass has Float "
      "on cpu and a batch of 2");
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
