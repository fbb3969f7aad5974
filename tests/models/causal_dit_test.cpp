// The transformer with a KV cache.
#include "monarch/models/wan/causal_dit.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/rope.h"
#include "tests/models/support/tiny_dit.h"

namespace monarch::models {
namespace {

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

// Keys of one frame, rotated for frame 0, as if it were frame `frame`.
at::Tensor at_frame(const at::Tensor& keys, int64_t frame) {
  const ops::Grid grid{1, 2, 3};
  const auto table = [&](int64_t start) {
    return rope_table(grid, start, keys.size(3)).view({1, kFrameTokens, 1, keys.size(3) / 2});
  };
  const at::Tensor plain = at::view_as_complex(keys.unflatten(3, {-1, 2})) * at::conj(table(0));
  return at::view_as_real(plain * table(frame)).flatten(3);
}

TEST(DitCache, MovesTheSinkOnWithTheWindow) {
  const at::NoGradGuard no_grad;
  WanConfig config = tiny_config();
  config.local_attn_size = 4;
  config.sink_size = 1;
  config.relative_sink = true;
  const CausalWanDit model(config, random_weights(config));
  const DitInput input = random_input(7);
  DitCache cache(config, 2, 4 * kFrameTokens, at::kFloat);
  for (const int64_t frames : {7, 5}) {  // a new video starts with its own sink
    at::Tensor first;
    for (int64_t frame = 0; frame < frames; ++frame) {
      model.forward_cached(frames_of(input, frame, frame + 1), frame, cache);
      const at::Tensor sink = cache.buffers(1).k.slice(1, 0, kFrameTokens);
      if (frame == 0) first = sink.clone();
      const int64_t evicted = std::max<int64_t>(0, frame - 3);
      EXPECT_LT(difference(sink, at_frame(first, evicted)), 1e-6) << frame;
      EXPECT_EQ(difference(sink, first) > 1e-2, evicted > 0) << frame;
    }
    cache.reset();
  }
}

TEST(DitCache, TurningIsExactHoweverOften) {
  const at::NoGradGuard no_grad;
  WanConfig config = tiny_config();
  config.local_attn_size = 2;
  config.sink_size = 1;
  config.relative_sink = true;
  const CausalWanDit model(config, random_weights(config, at::kBFloat16));
  const DitInput input = random_input(1, at::kBFloat16);
  DitCache cache(config, 2, 2 * kFrameTokens, at::kBFloat16);
  at::Tensor first;
  for (int64_t frame = 0; frame < 80; ++frame) {
    model.forward_cached(input, frame, cache);
    if (frame == 0)
      first = cache.buffers(0).k.slice(1, 0, kFrameTokens).to(at::kFloat, false, true);
  }
  const at::Tensor sink = cache.buffers(0).k.slice(1, 0, kFrameTokens).to(at::kFloat);
  EXPECT_LT(difference(sink, at_frame(first, 78)), 4e-3);  // one rounding to bf16
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

}  // namespace
}  // namespace monarch::models
