#include "monarch/sampling/few_step.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "tests/support/message_of.h"

namespace monarch::sampling {
namespace {

const FlowMatchSchedule& schedule() {
  static const FlowMatchSchedule shift5(FlowMatchConfig::self_forcing(5.0));
  return shift5;
}

TEST(FewStep, DrawsBetweenPredictionsOnly) {
  std::vector<float> seen;
  int draws = 0;
  const at::Tensor noise = at::ones({1, 2, 3, 2, 2});
  const std::vector<float> steps = {1000.0F, 937.5F, 625.0F};
  const at::Tensor result = sample_few_step(
      [&](const at::Tensor& x, const at::Tensor& t) {
        EXPECT_EQ(t.sizes(), (std::vector<int64_t>{1, 3}));
        seen.push_back(t[0][0].item<float>());
        return x * 0.5;
      },
      noise, steps, schedule(),
      [&](const at::Tensor& like) {
        ++draws;
        return at::zeros_like(like);
      });
  EXPECT_EQ(seen, steps);
  EXPECT_EQ(draws, 2);
  // 0.5, then (1 - sigma) shrinks it before each further halving.
  EXPECT_NEAR(result[0][0][0][0][0].item<float>(), 0.125 * 0.0625 * 0.375, 1e-6);
}

TEST(FewStep, ReadsStepLists) {
  EXPECT_EQ(denoising_timesteps(schedule(), std::vector<int64_t>{1000, 500, 0}, false, true),
            (std::vector<float>{1000.0F, 500.0F}));
  EXPECT_EQ(denoising_timesteps(schedule(), std::vector<int64_t>{1000, 750}, true, false),
            (std::vector<float>{1000.0F, 937.5F}));
}

TEST(FewStep, ErrorsSayWhatToDo) {
  EXPECT_EQ(message_of([] { denoising_timesteps(schedule(), {}, true, true); }),
            "[monarch_sampling] the list of denoising steps is empty; give for example 1000, 750, "
            "500, 250");
  EXPECT_EQ(message_of([] {
              denoising_timesteps(schedule(), std::vector<int64_t>{1000, 1200}, false, true);
            }),
            "[monarch_sampling] denoising step 1200 is outside 0..1000");
  EXPECT_EQ(message_of([] {
              denoising_timesteps(schedule(), std::vector<int64_t>{500, 750}, false, true);
            }),
            "[monarch_sampling] denoising steps must descend, but 750 follows 500");
}

}  // namespace
}  // namespace monarch::sampling
