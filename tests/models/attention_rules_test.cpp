// Presets by layer, head, denoising step and chunk.
#include "monarch/models/wan/attention_rules.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/self_attention.h"
#include "monarch/ops/attention.h"
#include "tests/models/support/tiny_dit.h"

namespace monarch::models {
namespace {

const ops::MonarchOptions kTiled{.enable = true, .f_tied = 3, .h_reduce = 2, .w_reduce = 3};

WanConfig with_rules(const char* rules, WanConfig config = tiny_config()) {
  config.attention = attention_rules_from_json(Json::parse(rules), "attention");
  config.validate();
  return config;
}

std::string message_of_rules(const char* rules) {
  return message_of([&] { with_rules(rules); });
}

TEST(AttentionRules, LastRuleThatNamesAHeadDecides) {
  WanConfig config = tiny_config();
  config.num_heads = 4;
  config.monarch = kTiled;
  config = with_rules(R"([{"preset": "dense", "heads": ["0-1", 3]},
                          {"preset": "vmonarch", "heads": 1, "layers": 1, "num_iters": 3},
                          {"preset": "monarchrt", "steps": "2-3", "w_reduce": 3}])",
                      config);
  const auto kinds = [&](int64_t layer, int64_t step) {
    std::string text;
    for (const HeadGroup& group : head_groups(config, layer, {.step = step})) {
      const char* names[] = {"dense", "monarch", "vmonarch"};
      text += str_cat(group.first, '+', group.count, ' ',
                      names[static_cast<int>(group.attention.kind)], "; ");
    }
    return text;
  };
  EXPECT_EQ(kinds(0, 0), "0+2 dense; 2+1 monarch; 3+1 dense; ");
  EXPECT_EQ(kinds(1, 1), "0+1 dense; 1+1 vmonarch; 2+1 monarch; 3+1 dense; ");
  EXPECT_EQ(kinds(1, 3), "0+4 monarch; ");
  EXPECT_EQ(head_groups(config, 1, {.step = 0})[1].attention.vmonarch.num_iters, 3);
  EXPECT_EQ(head_groups(config, 0, {.step = 0})[1].attention.monarch.f_tied, 3);
  EXPECT_EQ(head_groups(config, 0, {.step = 2})[0].attention.monarch.w_reduce, 3);
  EXPECT_EQ(describe(config.attention[1]), "layers 1, heads 1: vmonarch, 3 iterations");
  EXPECT_EQ(describe(config.attention[2]),
            "steps 2-3: monarchrt, f_tied 1, h_reduce 1, w_reduce 3, num_iters 1");
  EXPECT_EQ(message_of([&] { head_groups(config, 0, {}); }),
            "[monarch_models] the attention rules choose by denoising step, and this pass is none; "
            "leave out `steps` to train");
}

TEST(AttentionRules, SayWhatIsWrong) {
  EXPECT_EQ(message_of_rules(R"([{"heads": 1}])"),
            "[config] attention[0] must be a mapping with a preset (dense, monarchrt or vmonarch)");
  EXPECT_EQ(message_of_rules(R"([{"preset": "sparse"}])"),
            "[config] attention[0].preset is 'sparse'; use dense, monarchrt or vmonarch");
  EXPECT_EQ(message_of_rules(R"([{"preset": "dense", "f_tied": 3}])"),
            "[config] unknown key 'f_tied' in attention[0]");
  EXPECT_EQ(message_of_rules(R"([{"preset": "dense", "layer": 3}])"),
            "[config] unknown key 'layer' in attention[0]; did you mean 'layers'?");
  for (const char* steps : {R"("4-2")", R"("3-4x")", R"("3-")", R"("-1")", R"("")", R"("1--2")",
                            "-1", "1.5", "99999999999", "[1, [2]]"}) {
    const std::string rule = str_cat(R"([{"preset": "dense", "steps": )", steps, "}]");
    const std::string message = message_of_rules(rule.c_str());
    EXPECT_TRUE(message.starts_with("[config] attention[0].steps names "))
        << steps << ": " << message;
    EXPECT_TRUE(message.ends_with("; write numbers from 0 on, ranges like 0-4, or a list of them"))
        << steps << ": " << message;
  }
  EXPECT_EQ(message_of_rules(R"([{"preset": "dense", "heads": [0, 2]}])"),
            "[config] attention[0] names head 2; the model has 2, numbered from 0");
  EXPECT_EQ(message_of_rules(R"([{"preset": "dense", "layers": []}])"),
            "[config] attention[0].layers is an empty list; leave the key out for all");
}

TEST(AttentionRules, HeadsRunWhatTheyAreTold) {
  const ops::Grid grid{3, 4, 6};
  const Qkv all{normal({2, 72, 4, 8}, 1), normal({2, 72, 4, 8}, 2), normal({2, 72, 4, 8}, 3)};
  WanConfig config = tiny_config();
  config.num_heads = 4;
  config = with_rules(R"([{"preset": "monarchrt", "heads": "1-2", "f_tied": 3, "h_reduce": 2,
                           "w_reduce": 3},
                          {"preset": "vmonarch", "heads": 3}])",
                      config);
  const at::Tensor got = bidirectional_attention(all, head_groups(config, 0, {}), grid);
  EXPECT_LT(
      difference(got.slice(2, 0, 1), ops::dense_attention(all.q, all.k, all.v).slice(2, 0, 1)),
      1e-6);
  EXPECT_LT(
      difference(got.slice(2, 1, 3),
                 ops::monarch_attention(all.q, all.k, all.v, kTiled, grid, grid).slice(2, 1, 3)),
      1e-6);
  EXPECT_LT(difference(got.slice(2, 3),
                       ops::vmonarch_attention(all.q, all.k, all.v, {}, grid).slice(2, 3)),
            1e-6);
}

TEST(AttentionRules, StepsChooseInTheWholeModel) {
  const at::NoGradGuard no_grad;
  WanConfig monarch = tiny_config();
  monarch.monarch = kTiled;
  const TensorMap weights = random_weights(tiny_config());
  const WanDit hybrid(with_rules(R"([{"preset": "dense", "steps": "0-1"}])", monarch), weights);
  DitInput input = random_input(3);
  input.t = input.t.select(1, 0);
  const at::Tensor dense_out = WanDit(tiny_config(), weights).forward(input);
  const at::Tensor monarch_out = WanDit(monarch, weights).forward(input);
  input.step = 1;
  EXPECT_TRUE(at::equal(hybrid.forward(input), dense_out));
  input.step = 2;
  EXPECT_TRUE(at::equal(hybrid.forward(input), monarch_out));
  EXPECT_EQ(
      message_of([&] { WanDit(with_rules(R"([{"preset": "dense", "chunks": 1}])"), weights); }),
      "[monarch_models] attention[0] chooses by chunk, and this pass takes a whole video at "
      "once; leave out `chunks`");
}

TEST(AttentionRules, CausalModelsKeepOneBlockOrderALayer) {
  const TensorMap weights = random_weights(tiny_config());
  const auto causal_message = [&](const char* rules) {
    return message_of([&] { CausalWanDit(with_rules(rules), weights); });
  };
  EXPECT_EQ(causal_message(R"([{"preset": "monarchrt", "heads": 0, "w_reduce": 3},
                               {"preset": "monarchrt", "heads": 1, "steps": 2, "layers": 1}])"),
            "[monarch_models] layer 1 would keep its KV cache in two block orders in chunk 0: "
            "f_tied 1, h_reduce 1, w_reduce 3 and f_tied 1, h_reduce 1, w_reduce 1; give the heads "
            "and steps of a layer one tiling (or dense attention), or change it between chunks");
  EXPECT_EQ(causal_message(R"([{"preset": "vmonarch", "layers": 1, "chunks": 4}])"),
            "[monarch_models] vmonarch factorises the whole video at once and cannot run causally; "
            "use monarchrt or dense attention");
  EXPECT_EQ(causal_message(R"([{"preset": "monarchrt", "w_reduce": 3, "heads": 0},
                               {"preset": "monarchrt", "w_reduce": 3, "num_iters": 2, "layers": 1},
                               {"preset": "dense", "steps": "0-3"},
                               {"preset": "monarchrt", "f_tied": 3, "chunks": "2-9"}])"),
            "no error");
}

// One layer: what is cached then does not depend on how earlier chunks attended.
WanConfig one_layer() {
  WanConfig config = tiny_config();
  config.num_layers = 1;
  config.num_frame_per_block = 3;
  return config;
}

TEST(AttentionRules, AnotherTilingReordersTheCache) {
  const int64_t tokens = 9 * kFrameTokens;
  const TensorMap weights = random_weights(one_layer());
  WanConfig tiled = one_layer();
  tiled.monarch = kTiled;
  const CausalWanDit changing(with_rules(R"([{"preset": "monarchrt", "chunks": 1, "w_reduce": 3},
                     {"preset": "monarchrt", "chunks": 2, "f_tied": 3, "h_reduce": 2,
                      "w_reduce": 3}])",
                                         one_layer()),
                              weights);
  const CausalWanDit constant(tiled, weights);
  const DitInput input = random_input(9);
  for (const bool recording : {false, true}) {
    const at::AutoGradMode mode(recording);
    const at::Tensor bias = weights.at("blocks.0.self_attn.k.bias").requires_grad_(recording);
    DitCache cache(changing.config(), 2, tokens, at::kFloat),
        want_cache(tiled, 2, tokens, at::kFloat);
    cache.gradient = want_cache.gradient = CacheGradient::kStraightThrough;
    at::Tensor out, want;
    for (int64_t begin = 0; begin < 9; begin += 3) {
      const DitInput part = frames_of(input, begin, begin + 3);
      out = changing.forward_cached(part, begin, cache);
      want = constant.forward_cached(part, begin, want_cache);
    }
    EXPECT_LT(difference(out.detach(), want.detach()), 1e-6);
    EXPECT_TRUE(at::equal(cache.buffers(0).k, want_cache.buffers(0).k));
    EXPECT_TRUE(at::equal(cache.buffers(0).v, want_cache.buffers(0).v));
    if (!recording) continue;
    const auto gradient = [&](const at::Tensor& result) {
      return torch::autograd::grad({result.square().sum()}, {bias})[0];
    };
    EXPECT_LT(difference(gradient(out), gradient(want)), 1e-5);
  }
}

TEST(AttentionRules, EvictionKeepsBlocksWhole) {
  const at::NoGradGuard no_grad;
  WanConfig config = one_layer();
  config.monarch = kTiled;
  config.local_attn_size = 7;  // two chunks of three and one frame over
  const CausalWanDit model(config, random_weights(config));
  const DitInput input = random_input(12);
  DitCache cache(config, 2, 7 * kFrameTokens, at::kFloat);
  at::Tensor out;
  for (int64_t begin = 0; begin < 12; begin += 3)
    out = model.forward_cached(frames_of(input, begin, begin + 3), begin, cache);
  EXPECT_EQ(cache.local_end(), 6 * kFrameTokens);
  EXPECT_EQ(cache.global_end(), 12 * kFrameTokens);
  // The last two chunks are what is left.
  DitCache last(config, 2, 12 * kFrameTokens, at::kFloat);
  for (int64_t begin = 0; begin < 9; begin += 3)
    model.forward_cached(frames_of(input, begin, begin + 3), begin, last);
  EXPECT_TRUE(at::equal(cache.buffers(0).k.slice(1, 0, 3 * kFrameTokens),
                        last.buffers(0).k.slice(1, 6 * kFrameTokens, 9 * kFrameTokens)));
  config.sink_size = 1;
  EXPECT_EQ(message_of([&] { CausalWanDit(config, random_weights(config)); }),
            "[monarch_models] sink_size 1 would cut blocks of 3 frames (f_tied); use a multiple");
}

}  // namespace
}  // namespace monarch::models
