#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "monarch/training/data/sampler.h"
#include "monarch/training/losses/distribution_matching.h"
#include "monarch/training/losses/flow_matching.h"
#include "monarch/training/networks.h"
#include "monarch/training/simulation.h"
#include "monarch/training/trained_network.h"
#include "tests/support/message_of.h"
#include "tests/training/tiny_dit.h"

namespace monarch::training {
namespace {

const sampling::FlowMatchSchedule& schedule() {
  static const sampling::FlowMatchSchedule five(sampling::FlowMatchConfig::self_forcing(5.0));
  return five;
}

const pipelines::LatentShape kShape{
    .batch = 2, .channels = 4, .frames = 6, .height = 2, .width = 2};

TEST(SeededDraws, AreAFunctionOfSeedStepAndRank) {
  const auto noise = [](std::uint64_t seed, int64_t step, int64_t rank) {
    return SeededDraws(seed, step, rank).normal("noise", kShape, at::kFloat);
  };
  EXPECT_TRUE(noise(1, 2, 3).equal(noise(1, 2, 3)));
  EXPECT_FALSE(noise(1, 2, 3).equal(noise(2, 2, 3)));
  EXPECT_FALSE(noise(1, 2, 3).equal(noise(1, 3, 3)));
  EXPECT_FALSE(noise(1, 2, 3).equal(noise(1, 2, 4)));
}

// However much each rank draws for itself in between.
TEST(SeededDraws, CommonIntegersAgreeOnAllRanks) {
  SeededDraws first(7, 0, 0), second(7, 0, 1);
  second.normal("noise", kShape, at::kFloat);
  second.integers("timestep", 0, 1000, {5});
  EXPECT_TRUE(first.common_integers("exit", 0, 1000, {8})
                  .equal(second.common_integers("exit", 0, 1000, {8})));
  EXPECT_FALSE(
      first.integers("timestep", 0, 1000, {8}).equal(second.integers("timestep", 0, 1000, {8})));
}

TEST(FlowMatching, ThePerfectFlowHasNoLoss) {
  const at::Tensor x0 = at::randn({2, 4, 6, 2, 2});
  SeededDraws draws(1, 0), again(1, 0);
  const at::Tensor noise = again.normal("noise", shape_of(x0), x0.options());
  const auto perfect = [&](const at::Tensor&, const at::Tensor&, const at::Tensor&) {
    return noise - x0;
  };
  const auto terms = flow_matching_loss(
      perfect, x0, {}, {.by_chunk = true, .num_frame_per_block = 3}, schedule(), draws);
  EXPECT_EQ(terms.loss.item<float>(), 0);
  EXPECT_TRUE(terms.timestep.select(1, 0).equal(terms.timestep.select(1, 2)));
  EXPECT_FALSE(terms.timestep.select(1, 2).equal(terms.timestep.select(1, 3)));
}

TEST(FlowMatching, SaysThatFramesDoNotSplitIntoChunks) {
  EXPECT_EQ(message_of([] {
              tie_chunks(at::zeros({1, 7}), 3, false);
            }),
            "[monarch_training] 7 latent frames do not split into chunks of 3; change "
            "num_frame_per_block or the length of the videos");
  EXPECT_EQ(tie_chunks(at::arange(7).unsqueeze(0), 3, true).sizes(), at::IntArrayRef({1, 7}));
}

ScoreModel constant_score(const at::Tensor& x0) {
  return [x0](const at::Tensor&, const at::Tensor&, const at::Tensor&) { return x0; };
}

DmdTerms loss_of(const LossFrames& frames, const at::Tensor& real, const at::Tensor& fake) {
  SeededDraws draws(3, 0);
  return dmd_generator_loss(frames, {}, constant_score(real), constant_score(fake), {}, {}, {}, {},
                            schedule(), draws);
}

TEST(DistributionMatching, TheLossHasTheGradientOfTheFormula) {
  const at::Tensor x = at::randn({2, 4, 6, 2, 2}).requires_grad_();
  const at::Tensor real = at::randn_like(x), fake = at::randn_like(x);
  const DmdTerms terms = loss_of({.latents = x, .mask = {}}, real, fake);
  const at::Tensor expected =
      (fake - real) / (x.detach() - real).abs().mean({1, 2, 3, 4}, true) / x.numel();
  terms.loss.backward();
  EXPECT_TRUE(x.grad().allclose(expected, 1e-5, 1e-9));
}

TEST(DistributionMatching, MaskedFramesGetNoGradientAndDoNotCount) {
  const at::Tensor x = at::randn({1, 4, 6, 2, 2}).requires_grad_();
  const at::Tensor mask = at::ones({1, 1, 6, 1, 1}, at::kBool);
  mask.narrow(2, 0, 3).fill_(false);
  const DmdTerms terms =
      loss_of({.latents = x, .mask = mask}, at::randn({1, 4, 6, 2, 2}), at::randn({1, 4, 6, 2, 2}));
  terms.loss.backward();
  EXPECT_EQ(x.grad().narrow(2, 0, 3).abs().max().item<float>(), 0);
  EXPECT_TRUE(x.grad().narrow(2, 3, 3).allclose(
      terms.gradient.narrow(2, 3, 3) / (static_cast<double>(x.numel()) / 2), 1e-5, 1e-9));
}

// A teacher that agrees with the video leaves nothing to divide by.
TEST(DistributionMatching, TheGradientIsFiniteWhereTheTeacherAgrees) {
  const at::Tensor x = at::randn({1, 4, 6, 2, 2});
  const DmdTerms terms = loss_of({.latents = x, .mask = {}}, x, x);
  EXPECT_TRUE(terms.gradient.isfinite().all().item<bool>());
}

TEST(DistributionMatching, ScoreTimestepsKeepOffTheEndsAndWithinTheRange) {
  SeededDraws draws(5, 0);
  const at::Tensor x = at::zeros({64, 1, 1, 1, 1});
  const auto all = noise_for_score(x, {}, {.timestep_shift = 5.0}, schedule(), draws);
  EXPECT_GE(all.timestep.min().item<float>(), 20);
  EXPECT_LE(all.timestep.max().item<float>(), 980);
  const auto part = noise_for_score(x, StepRange{.from = 500, .to = 250}, {.ts_schedule_max = true},
                                    schedule(), draws);
  EXPECT_GE(part.timestep.min().item<float>(), 250);
  EXPECT_LT(part.timestep.max().item<float>(), 500);
}

TEST(DistributionMatching, RefusesLossesThatCannotRun) {
  EXPECT_EQ(message_of([] { critic_target("noise"); }),
            "[monarch_training] denoising_loss_type is 'noise'; use flow or x0 (noise and v need a "
            "schedule that flow matching does not have)");
}

TEST(Simulation, DrawsWholeChunksBetweenTheLimits) {
  const SimulationOptions options{.num_training_frames = 27};
  std::set<int64_t> seen;
  for (int64_t step = 0; step < 64; ++step) {
    SeededDraws draws(1, step);
    seen.insert(draw_num_frames(options, draws));
  }
  EXPECT_EQ(seen, (std::set<int64_t>{21, 24, 27}));
}

TEST(Simulation, SaysThatTheFramesDoNotSplit) {
  SeededDraws draws(1, 0);
  EXPECT_EQ(message_of([&] { draw_num_frames({.num_training_frames = 22}, draws); }),
            "[monarch_training] videos of 21 to 22 latent frames do not split into chunks of 3; "
            "change num_frame_per_block, loss_frames or num_training_frames");
}

TEST(Simulation, LongVideosLoseTheirBeginningAndItsGradient) {
  const at::Tensor latents = at::randn({1, 4, 24, 2, 2}).requires_grad_();
  int64_t given = 0;
  const LossFrames frames = last_frames(latents, {}, [&](const at::Tensor& begin) {
    given = begin.size(2);
    return begin.slice(2, -1);
  });
  EXPECT_EQ(given, 4);
  EXPECT_EQ(frames.latents.size(2), 21);
  EXPECT_EQ(frames.mask.sum().item<int64_t>(), 18);
  frames.latents.sum().backward();
  EXPECT_EQ(latents.grad().sum({0, 1, 3, 4}).ne(0).sum().item<int64_t>(), 20);
}

// The exit step alone records gradients, and the chunks before the last loss_frames none at all.
TEST(Simulation, RecordsTheExitStepsOfTheLastFrames) {
  const at::Tensor weight = at::ones({}).requires_grad_();
  std::vector<int64_t> recorded;
  const auto flow = [&](const at::Tensor& x, const at::Tensor&, int64_t start_frame, int64_t) {
    if (at::GradMode::is_enabled()) recorded.push_back(start_frame);
    return x * weight;
  };
  SeededDraws draws(2, 0);
  const SimulationOptions options{.timesteps = {1000, 500}, .loss_frames = 6};
  const at::Tensor noise = at::randn({1, 4, 12, 2, 2});
  const Simulation result = simulate_causal(flow, noise, options, schedule(), draws);
  EXPECT_EQ(recorded, (std::vector<int64_t>{6, 9}));
  EXPECT_TRUE(result.latents.requires_grad());
  recorded.clear();
  const at::NoGradGuard no_grad;
  SeededDraws same(2, 0);
  EXPECT_TRUE(
      simulate_causal(flow, noise, options, schedule(), same).latents.equal(result.latents));
  EXPECT_TRUE(recorded.empty());
}

TEST(Simulation, ChunksSeeNoFurtherThanTheirWindow) {
  const auto last_chunk = [](int64_t window, double first_chunk) {
    models::WanConfig config = test::tiny_dit();
    config.local_attn_size = window;
    models::TensorMap weights =
        models::random_dit_weights(config, pipelines::seeded_generator(3), at::kDouble);
    weights.at("head.head.weight").normal_(0, 0.1, pipelines::seeded_generator(4));
    at::Tensor noise = at::randn({1, 4, 6, 4, 4}, pipelines::seeded_generator(5), at::kDouble);
    noise.slice(2, 0, 2) += first_chunk;
    SeededDraws draws(2, 0);
    const at::NoGradGuard no_grad;
    return VideoGenerator(config, /*causal=*/true, weights)
        .simulate(noise, at::ones({1, 4, 8}, at::kDouble),
                  {.timesteps = {1000, 500}, .num_frame_per_block = 2, .loss_frames = 6},
                  schedule(), draws)
        .latents.slice(2, 4);
  };
  EXPECT_FALSE(last_chunk(-1, 0).equal(last_chunk(-1, 1)));
  EXPECT_FALSE(last_chunk(6, 0).equal(last_chunk(6, 1)));
  EXPECT_TRUE(last_chunk(2, 0).equal(last_chunk(2, 1)));
}

// Stands for three ranks, two of which have no gradients.
class ThreeRanks : public Team {
 public:
  int64_t size() const override { return 3; }
  void average_gradients(const models::TensorMap& parameters) const override {
    for (const auto& [name, parameter] : parameters) parameter.mutable_grad().div_(3);
  }
};

TEST(TrainedNetwork, AveragesOverTheTeamBeforeItClips) {
  const ThreeRanks team;
  TrainedNetwork network({{"w", at::zeros({2})}}, {.max_grad_norm = 1.5}, team);
  network.parameters().at("w").mutable_grad() = at::full({2}, 3.0 / std::sqrt(2.0));
  EXPECT_NEAR(network.update(), 1.0, 1e-6);
}

TEST(TrainedNetwork, KeepsItsParametersWhenAGradientIsNotFinite) {
  const Team alone;
  TrainedNetwork network({{"w", at::ones({2})}}, {}, alone);
  network.parameters().at("w").mutable_grad() =
      at::full({2}, std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(std::isfinite(network.update()));
  EXPECT_TRUE(network.parameters().at("w").equal(at::ones({2})));
}

TEST(DataOrder, RanksShareOnePermutation) {
  const std::vector<int64_t> all = data_order(10);
  const std::vector<int64_t> first = data_order(10, 3, 0), last = data_order(10, 3, 2);
  EXPECT_EQ(first, (std::vector<int64_t>{all[0], all[3], all[6]}));
  EXPECT_EQ(last, (std::vector<int64_t>{all[2], all[5], all[8]}));
  EXPECT_EQ(message_of([] { data_order(1, 2, 0); }),
            "[monarch_training] too few samples: 1, for 2 processes; give at least one sample for "
            "each");
}

}  // namespace
}  // namespace monarch::training
