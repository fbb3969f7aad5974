#include "monarch/sampling/flow_match.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "tests/support/message_of.h"

namespace monarch::sampling {
namespace {

const FlowMatchSchedule& shift5() {
  static const FlowMatchSchedule schedule(FlowMatchConfig::self_forcing(5.0));
  return schedule;
}

TEST(FlowMatch, TheTableOfSelfForcing) {
  ASSERT_EQ(shift5().sigmas().size(0), 1000);
  EXPECT_FLOAT_EQ(shift5().timesteps()[0].item<float>(), 1000.0F);
  EXPECT_NEAR(shift5().timesteps()[999].item<float>(), 4.98, 0.005);
  EXPECT_NEAR(shift5().weights().mean().item<float>(), 1.0, 1e-5);
  EXPECT_FLOAT_EQ(shift5().weights()[0].item<float>(), 0.0F);
}

TEST(FlowMatch, LookUpTakesTheNearestEntryAndTheFirstOnTies) {
  FlowMatchConfig config;
  config.shift = 1.0;
  config.sigma_min = 0.0;
  config.extra_one_step = true;
  config.num_inference_steps = 4;  // 1000, 750, 500, 250
  const FlowMatchSchedule schedule(config);
  const at::Tensor index = schedule.index(at::tensor({1200.0F, 875.0F, 740.0F, 0.0F}));
  EXPECT_TRUE(at::equal(index, at::tensor({0, 0, 1, 3}, at::kLong)));
}

TEST(FlowMatch, TimestepZeroIsNotClean) {
  EXPECT_NEAR(shift5().sigma(at::zeros({1})).item<float>(), 0.00498, 1e-5);
}

TEST(FlowMatch, ConversionsAreInverse) {
  const at::Tensor x_t = at::linspace(-3, 3, 24, at::kFloat).reshape({2, 3, 4});
  const at::Tensor flow = at::cos(x_t);
  const at::Tensor t = at::tensor({900.0F, 250.0F});
  const at::Tensor x0 = shift5().flow_to_x0(flow.to(at::kDouble), x_t, t);
  EXPECT_EQ(x0.scalar_type(), at::kDouble);
  EXPECT_LT((shift5().x0_to_flow(x0, x_t, t) - flow).abs().max().item<double>(), 1e-12);
}

TEST(FlowMatch, FrameTimestepsBroadcastOverBothLayouts) {
  const at::Tensor sample = at::arange(2 * 5 * 3 * 2 * 2, at::kFloat).reshape({2, 5, 3, 2, 2});
  const at::Tensor noise = at::sin(sample);
  const at::Tensor t = at::tensor({1000.0F, 700.0F, 40.0F, 3.0F, 500.0F, 999.0F}).reshape({2, 3});
  const auto swap = [](const at::Tensor& x) { return x.permute({0, 2, 1, 3, 4}); };
  const at::Tensor inside = shift5().add_noise(sample, noise, frame_timestep(t));
  const at::Tensor original = shift5().add_noise(swap(sample), swap(noise), t);
  EXPECT_TRUE(at::equal(inside, swap(original)));
}

TEST(FlowMatch, NoiseKeepsItsTypeAndIsMixedInFloat32) {
  const at::Tensor sample = at::full({1, 4}, 1.0 / 3, at::kBFloat16);
  const at::Tensor noise = at::full({1, 4}, -0.7, at::kBFloat16);
  const at::Tensor t = at::tensor({333.0F});
  const at::Tensor mixed = shift5().add_noise(sample, noise, t);
  const at::Tensor want =
      shift5().add_noise(sample.to(at::kFloat), noise.to(at::kFloat), t).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(mixed, want));
}

TEST(FlowMatch, OneElementAtTheEndFinishesTheBatch) {
  const at::Tensor sample = at::ones({2, 3});
  const at::Tensor flow = at::ones({2, 3});
  const at::Tensor stepped = shift5().step(flow, at::tensor({1000.0F, 0.0F}), sample);
  EXPECT_NEAR(stepped[0][0].item<float>(), 0.0, 1e-6);  // sigma 1 to 0 at once
}

TEST(FlowMatch, WarpsDenoisingSteps) {
  const std::vector<float> warped = shift5().warp(std::vector<int64_t>{1000, 750, 500, 250, 0});
  EXPECT_FLOAT_EQ(warped[0], 1000.0F);
  EXPECT_FLOAT_EQ(warped[1], 937.5F);
  EXPECT_NEAR(warped[2], 833.333, 1e-3);
  EXPECT_FLOAT_EQ(warped[3], 625.0F);
  EXPECT_EQ(warped[4], 0.0F);
}

TEST(FlowMatch, ErrorsSayWhatToDo) {
  EXPECT_EQ(message_of([] {
              FlowMatchConfig::from_json({{"shft", 5.0}});
            }),
            "[config] unknown key 'shft' in flow_match; did you mean 'shift'?");
  FlowMatchConfig config;
  config.num_inference_steps = 0;
  EXPECT_EQ(message_of([&] { FlowMatchSchedule{config}; }),
            "[monarch_sampling] num_inference_steps is 0; give a number from 1 to 1000000");
  config.num_inference_steps = 4;
  config.shift = -1;
  EXPECT_EQ(
      message_of([&] { FlowMatchSchedule{config}; }),
      "[monarch_sampling] the timestep shift is -1; it must be above 0 (1 leaves the schedule "
      "as it is, 5 is usual)");
  config.shift = 5;
  config.num_train_timesteps = 0;
  EXPECT_EQ(message_of([&] { FlowMatchSchedule{config}; }),
            "[monarch_sampling] num_train_timesteps is 0; it must be at least 1 (1000 is usual)");
  config.num_train_timesteps = 1000;
  const FlowMatchSchedule schedule(config);
  EXPECT_EQ(message_of([&] { schedule.weights(); }),
            "[monarch_sampling] this schedule has no training weights; build it with training set");
  EXPECT_EQ(
      message_of([&] {
        schedule.add_noise(at::zeros({2, 3}), at::zeros({2, 4}), at::zeros({2}));
      }),
      "[monarch_sampling] sample and noise have shapes [2, 3] and [2, 4]; they must be equal");
  EXPECT_EQ(
      message_of([&] {
        schedule.add_noise(at::zeros({2, 3}), at::zeros({2, 3}), at::zeros({3}));
      }),
      "[monarch_sampling] timestep of shape [3] does not match the leading axes of the sample "
      "[2, 3]");
  EXPECT_EQ(message_of([&] {
              schedule.add_noise(at::zeros({2}), at::zeros({2}), at::zeros({2, 1}));
            }),
            "[monarch_sampling] timestep of shape [2, 1] has more axes than the sample [2]");
  EXPECT_EQ(message_of([&] { shift5().warp(std::vector<int64_t>{1001}); }),
            "[monarch_sampling] denoising step 1001 is outside the schedule; give steps from 0 to "
            "1000");
  EXPECT_EQ(message_of([] { frame_timestep(at::zeros({2})); }),
            "[monarch_sampling] per-frame timesteps are [B, F], got [2]");
}

}  // namespace
}  // namespace monarch::sampling
