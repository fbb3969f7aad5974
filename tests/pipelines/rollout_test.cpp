#include "monarch/pipelines/rollout.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/pipelines/causal_diffusion.h"
#include "monarch/pipelines/noise.h"
#include "tests/pipelines/tiny_system.h"

namespace monarch::pipelines {
namespace {

const sampling::FlowMatchSchedule& schedule() {
  static const sampling::FlowMatchSchedule shift5(sampling::FlowMatchConfig::self_forcing(5.0));
  return shift5;
}

const RolloutOptions kOptions{.num_frame_per_block = 2, .timesteps = {1000.0F, 937.5F, 625.0F}};

TEST(ChunkLengths, SplitFrames) {
  EXPECT_EQ(chunk_lengths(6, 3, false), (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(chunk_lengths(7, 3, true), (std::vector<std::int64_t>{1, 3, 3}));
  EXPECT_EQ(chunk_lengths(1, 3, true), (std::vector<std::int64_t>{1}));
  EXPECT_EQ(message_of([] { chunk_lengths(7, 3, false); }),
            "[monarch_pipelines] 7 latent frames do not split into chunks of 3; use 6 or 9");
  EXPECT_EQ(message_of([] { chunk_lengths(2, 3, false); }),
            "[monarch_pipelines] 2 latent frames do not split into chunks of 3; use 3");
  EXPECT_EQ(message_of([] { chunk_lengths(6, 3, true); }),
            "[monarch_pipelines] 6 latent frames do not split into one frame and chunks of 3; use "
            "4 or 7");
  EXPECT_EQ(message_of([] { chunk_lengths(6, 0, false); }),
            "[monarch_pipelines] num_frame_per_block is 0; it must be at least 1 (3 is usual)");
}

// What a rollout asks of a model, written down.
struct FakeModel {
  std::vector<std::string> calls;
  int draws = 0;

  ChunkFlow flow() {
    return [this](const at::Tensor& x, const at::Tensor& t, std::int64_t start_frame,
                  std::int64_t step) {
      calls.push_back(str_cat(start_frame, "+", x.size(2), "@", t[0][0].item<float>(), "#", step,
                              at::GradMode::is_enabled() ? " grad" : ""));
      return x * 0.1;
    };
  }
  sampling::NoiseSource draw() {
    return [this](const at::Tensor& like) {
      ++draws;
      return at::ones_like(like);
    };
  }
};

TEST(Rollout, PassesEachChunkThroughTheStepsAndIntoTheCache) {
  FakeModel model;
  RolloutOptions options = kOptions;
  options.independent_first_frame = true;
  options.context_noise = 7;
  roll_out(model.flow(), schedule(), at::ones({1, 2, 3, 2, 2}), {}, options, model.draw());
  EXPECT_EQ(model.calls,
            (std::vector<std::string>{"0+1@1000#0", "0+1@937.5#1", "0+1@625#2", "0+1@7#2",
                                      "1+2@1000#0", "1+2@937.5#1", "1+2@625#2", "1+2@7#2"}));
  EXPECT_EQ(model.draws, 4);
}

TEST(Rollout, ANoisyContextCountsAsTheStepItLiesIn) {
  FakeModel model;
  RolloutOptions options = kOptions;
  options.context_noise = 700;
  roll_out(model.flow(), schedule(), at::ones({1, 2, 2, 2, 2}), {}, options, model.draw());
  EXPECT_EQ(model.calls.back(), "0+2@700#1");
}

TEST(Rollout, CachesInitialLatentsAtTimestepZero) {
  FakeModel model;
  RolloutOptions options = kOptions;
  options.independent_first_frame = true;
  const at::Tensor all = roll_out(model.flow(), schedule(), at::ones({1, 2, 2, 2, 2}),
                                  at::ones({1, 2, 3, 2, 2}), options, model.draw());
  EXPECT_EQ(all.size(2), 5);
  EXPECT_EQ(model.calls, (std::vector<std::string>{"0+1@0#2", "1+2@0#2", "3+2@1000#0",
                                                   "3+2@937.5#1", "3+2@625#2", "3+2@0#2"}));
}

TEST(Rollout, TrainingStopsEarlyRecordsTheExitAndNoisesTheContext) {
  FakeModel model;
  const ChunkPass pass{.exit_index = 1, .gradient_at_exit = true, .noise_context = true};
  const at::Tensor noise = at::ones({1, 2, 2, 2, 2}).requires_grad_();
  const at::Tensor x0 =
      roll_chunk(model.flow(), schedule(), noise, 4, kOptions, model.draw(), pass);
  EXPECT_EQ(model.calls, (std::vector<std::string>{"4+2@1000#0", "4+2@937.5#1 grad", "4+2@0#2"}));
  EXPECT_EQ(model.draws, 2);         // one to re-noise, one for the context
  EXPECT_FALSE(x0.requires_grad());  // x at the exit was re-noised without a graph, and the fake
                                     // has no weights
  EXPECT_EQ(message_of([&] {
              roll_chunk(model.flow(), schedule(), noise, 0, kOptions, model.draw(),
                         {.exit_index = 3});
            }),
            "[monarch_pipelines] exit index 3 is outside the 3 denoising steps");
}

TEST(Rollout, GradientsReachTheWeightsThroughTheExitStep) {
  models::WanConfig config = tiny_config();
  models::TensorMap weights = tiny_weights(config);
  for (auto& [name, weight] : weights) weight.requires_grad_();
  const models::CausalWanDit model(config, weights);
  models::DitCache cache(config, 1, 4 * 4, at::TensorOptions().dtype(at::kFloat));
  at::Generator generator = seeded_generator(3);
  const at::Tensor context =
      at::randn({1, 5, 16}, generator, at::TensorOptions().dtype(at::kFloat));
  const at::Tensor noise =
      draw_noise(generator, {.batch = 1, .channels = 4, .frames = 4, .height = 4, .width = 4},
                 context.options());
  const at::Tensor video =
      roll_out(bind_cache(model, context, cache), schedule(), noise, {}, kOptions,
               noise_source(generator), [](std::int64_t) {
                 return ChunkPass{.exit_index = 1, .gradient_at_exit = true, .noise_context = true};
               });
  ASSERT_TRUE(video.requires_grad());
  video.square().mean().backward();
  EXPECT_GT(weights.at("blocks.0.self_attn.q.weight").grad().abs().max().item<float>(), 0);
}

TEST(Rollout, ExtensionEqualsContinuing) {
  models::WanConfig config = tiny_config();
  const models::CausalWanDit model(config, tiny_weights(config));
  at::Generator generator = seeded_generator(3);
  const at::Tensor context =
      at::randn({1, 5, 16}, generator, at::TensorOptions().dtype(at::kFloat));
  const at::Tensor noise =
      draw_noise(generator, {.batch = 1, .channels = 4, .frames = 6, .height = 4, .width = 4},
                 context.options());
  std::vector<at::Tensor> draws;
  for (int i = 0; i < 6; ++i)
    draws.push_back(at::randn({1, 4, 2, 4, 4}, generator, context.options()));
  const auto run = [&](const at::Tensor& from, const at::Tensor& initial, size_t first_draw) {
    models::DitCache cache(config, 1, 6 * 4, context.options());
    return roll_out(bind_cache(model, context, cache), schedule(), from, initial, kOptions,
                    [&, next = first_draw](const at::Tensor&) mutable { return draws[next++]; });
  };
  const at::Tensor whole = run(noise, {}, 0);
  const at::Tensor extended = run(noise.narrow(2, 4, 2), whole.narrow(2, 0, 4), 4);
  EXPECT_LT((whole - extended).abs().max().item<float>(), 1e-5);
}

TEST(Rollout, StopsWhenAsked) {
  FakeModel model;
  const RunControl control{.cancelled = [&] { return model.calls.size() == 2; }};
  EXPECT_EQ(message_of([&] {
              roll_out(model.flow(), schedule(), at::ones({1, 2, 4, 2, 2}), {}, kOptions,
                       model.draw(), {}, {}, control);
            }),
            "[monarch_pipelines] stopped on request");
  EXPECT_EQ(model.calls.size(), 2U);
}

TEST(CausalDiffusion, AlternatesTheTwoCachesAndTakesAFreshSolverForEachChunk) {
  std::vector<std::string> calls;
  const auto fake = [&](std::string name) -> ChunkFlow {
    return [&calls, name](const at::Tensor& x, const at::Tensor& t, std::int64_t start_frame,
                          std::int64_t step) {
      calls.push_back(str_cat(name, start_frame, "@", t[0][0].item<float>(), "#", step));
      return x * 0.1;
    };
  };
  const CausalDiffusionOptions options{.solver = {.name = "euler", .num_steps = 2, .shift = 1.0},
                                       .num_frame_per_block = 2};
  const at::Tensor all = sample_causal_diffusion(fake("c"), fake("u"), at::ones({1, 2, 4, 2, 2}),
                                                 at::Tensor(), options);
  EXPECT_EQ(calls, (std::vector<std::string>{"c0@1000#0", "u0@1000#0", "c0@500#1", "u0@500#1",
                                             "c0@0#1", "u0@0#1", "c2@1000#0", "u2@1000#0",
                                             "c2@500#1", "u2@500#1", "c2@0#1", "u2@0#1"}));
  EXPECT_TRUE(at::equal(all.narrow(2, 0, 2), all.narrow(2, 2, 2)));
  calls.clear();
  sample_causal_diffusion(fake("c"), {}, at::ones({1, 2, 2, 2, 2}), at::Tensor(), options);
  EXPECT_EQ(calls, (std::vector<std::string>{"c0@1000#0", "c0@500#1", "c0@0#1"}));  // no guidance
}

}  // namespace
}  // namespace monarch::pipelines
