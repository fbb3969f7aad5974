#include "monarch/pipelines/text_to_video.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/pipelines/frame_sink.h"
#include "monarch/pipelines/noise.h"
#include "tests/pipelines/tiny_system.h"

namespace monarch::pipelines {
namespace {

TEST(Noise, IsTorchsInTheOriginalLayout) {
  at::Generator ours = seeded_generator(5);
  const at::Tensor noise =
      draw_noise(ours, {.batch = 2, .channels = 3, .frames = 4, .height = 2, .width = 5},
                 at::TensorOptions().dtype(at::kFloat));
  at::Generator theirs = seeded_generator(5);
  const at::Tensor drawn =
      at::randn({2, 4, 3, 2, 5}, theirs, at::TensorOptions().dtype(at::kFloat));
  EXPECT_TRUE(at::equal(swap_frames_and_channels(noise), drawn));
}

TEST(Noise, DoesNotDependOnTheModelsType) {
  at::Generator a = seeded_generator(5);
  at::Generator b = seeded_generator(5);
  const LatentShape shape{.batch = 1, .channels = 4, .frames = 2, .height = 2, .width = 2};
  const at::Tensor wide = draw_noise(a, shape, at::TensorOptions().dtype(at::kFloat));
  EXPECT_TRUE(at::equal(draw_noise(b, shape, at::TensorOptions().dtype(at::kBFloat16)),
                        wide.to(at::kBFloat16)));
}

TEST(SampleDiffusion, ReportsStepsAndStops) {
  std::vector<std::int64_t> seen;
  RunControl control{.on_step = [&](const StepEvent& event) {
    EXPECT_EQ(event.stage, "denoise");
    EXPECT_EQ(event.total, 4);
    seen.push_back(event.done);
  }};
  std::vector<std::int64_t> steps;
  const auto flow = [&](const at::Tensor& x, const at::Tensor& t, std::int64_t step) {
    EXPECT_EQ(t.sizes(), (std::vector<int64_t>{2}));
    steps.push_back(step);
    return x * 0.5;
  };
  const at::Tensor noise = at::ones({2, 1, 1, 1, 1});
  sample_diffusion(flow, noise, {.num_steps = 4}, control);
  EXPECT_EQ(seen, (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(steps, (std::vector<std::int64_t>{0, 1, 2, 3}));
  seen.clear();
  control.cancelled = [&] { return seen.size() == 2; };
  EXPECT_EQ(message_of([&] { sample_diffusion(flow, noise, {.num_steps = 4}, control); }),
            "[monarch_pipelines] stopped on request");
  EXPECT_EQ(seen.size(), 2U);
}

TEST(SampleDistilled, LeavesTheLastStepOut) {
  const sampling::FlowMatchSchedule schedule(sampling::FlowMatchConfig::self_forcing(5.0));
  std::vector<std::pair<float, std::int64_t>> seen;
  const auto flow = [&](const at::Tensor& x, const at::Tensor& t, std::int64_t step) {
    seen.emplace_back(t[0].item<float>(), step);
    return at::zeros_like(x);
  };
  const auto draw = [](const at::Tensor& like) { return at::zeros_like(like); };
  const std::vector<float> steps = {1000.0F, 500.0F, 250.0F};
  sample_distilled(flow, at::ones({1, 1, 2, 1, 1}), steps, schedule, draw);
  EXPECT_EQ(seen, (std::vector<std::pair<float, std::int64_t>>{{1000.0F, 0}, {500.0F, 1}}));
  EXPECT_EQ(message_of([&] {
              sample_distilled(flow, at::ones({1, 1, 2, 1, 1}), std::vector<float>{1000.0F},
                               schedule, draw);
            }),
            "[monarch_pipelines] bidirectional few-step generation stops before the last of its "
            "steps and needs at least two; "
            "got 1");
}

TEST(FrameSink, RoundsToBytes) {
  const at::Tensor frames =
      to_unit_range(at::tensor({-2.0F, -1.0F, 0.0F, 0.5F, 1.0F, 3.0F}).reshape({1, 3, 2, 1, 1}));
  const at::Tensor bytes = to_rgb8(frames);
  EXPECT_EQ(bytes.sizes(), (std::vector<int64_t>{1, 2, 1, 1, 3}));
  EXPECT_TRUE(at::equal(bytes.flatten(), at::tensor({0, 128, 255, 0, 191, 255}).to(at::kByte)));
  EXPECT_EQ(message_of([] {
              to_rgb8(at::zeros({1, 4, 2, 1, 1}));
            }),
            "[monarch_pipelines] frames are [B, 3, T, H, W], got [1, 4, 2, 1, 1]");
}

}  // namespace
}  // namespace monarch::pipelines
