#include "monarch/attention/registry.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

const MonarchProblem kMonarch{
    .num_heads = 2, .head_dim = 8, .q_frames = 2, .kv_frames = 3, .height = 3, .width = 4};
const DenseProblem kDense{.num_heads = 2, .head_dim = 8, .q_tokens = 24, .kv_tokens = 36};
const VMonarchProblem kVMonarch{
    .num_heads = 2, .head_dim = 8, .frames = 3, .height = 3, .width = 4};

TEST(Registry, EveryImplementationGivesTheSameForward) {
  for (const Problem& problem : {Problem(kMonarch), Problem(kDense), Problem(kVMonarch)}) {
    const std::int64_t q_tokens = std::holds_alternative<VMonarchProblem>(problem) ? 36 : 24;
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Tensor q = random_tensor({1, q_tokens, 2, 8}, dtype, 1);
      const Tensor k = random_tensor({1, 36, 2, 8}, dtype, 2);
      const Tensor v = random_tensor({1, 36, 2, 8}, dtype, 3);
      Tensor want(q.shape(), DType::kF32);
      implementation("reference")
          .forward(problem, {q.view(), k.view(), v.view(), want.view()}, 1, {});
      for (const Implementation* candidate : implementations()) {
        const std::string refusal = candidate->refusal(problem, dtype, Direction::kForward);
        if (refusal == std::string(candidate->name()) + " takes BF16, not F32") continue;
        ASSERT_EQ(refusal, "");
        Tensor got(q.shape(), DType::kF32);
        std::vector<std::byte> workspace(candidate->forward_workspace(problem, 2));
        candidate->forward(problem, {q.view(), k.view(), v.view(), got.view()}, 2, workspace);
        const bool rounds = !candidate->refusal(problem, DType::kF32, Direction::kForward).empty();
        EXPECT_LE(relative_error(got, want), rounds ? 4e-3 : 3e-6) << candidate->name();
      }
    }
  }
}

TEST(Registry, RunsOnTheCallersThreads) {
  const Tensor q = random_tensor({1, 24, 2, 8}, DType::kF32, 1);
  const Tensor k = random_tensor({1, 36, 2, 8}, DType::kF32, 2);
  Tensor out(q.shape(), DType::kF32);
  const Implementation& kernels = choose(kMonarch, DType::kF32);
  std::vector<std::byte> workspace(kernels.forward_workspace(kMonarch, 2));
  int tasks = 0;
  kernels.forward(kMonarch, {q.view(), k.view(), k.view(), out.view()}, 2, workspace,
                  [&](int threads, std::int64_t num_tasks, const auto& body) {
                    EXPECT_EQ(threads, 2);
                    for (std::int64_t task = 0; task < num_tasks; ++task, ++tasks) body(task, 0);
                  });
  EXPECT_GE(tasks, 2);  // two heads
}

TEST(Registry, ChoosesTheFastestThatCan) {
  EXPECT_TRUE(choose(kMonarch, DType::kF32).name().starts_with("cpu-"));
  EXPECT_TRUE(choose(kMonarch, DType::kBF16, Direction::kBackward).name().starts_with("cpu-"));
  EXPECT_EQ(choose(kMonarch, DType::kF64).name(), "reference");
  EXPECT_TRUE(choose(kDense, DType::kF32, Direction::kBackward).name().starts_with("cpu-"));
  EXPECT_TRUE(choose(kVMonarch, DType::kF32, Direction::kBackward).name().starts_with("cpu-"));
  MonarchProblem refined = kMonarch;
  refined.num_iters = 2;
  EXPECT_TRUE(choose(refined, DType::kF32).name().starts_with("cpu-"));
  EXPECT_TRUE(choose(refined, DType::kF16, Direction::kBackward).name().starts_with("cpu-"));
  DenseProblem wide = kDense;
  wide.head_dim = 257;
  EXPECT_EQ(choose(wide, DType::kF32).name(), "reference");
  EXPECT_EQ(implementation("cpu-generic").refusal(wide, DType::kF32, Direction::kForward),
            "cpu-generic takes head_dim up to 256, not 257");
  refined.w_reduce = 3;
  EXPECT_THROW(choose(refined, DType::kF32), Error);
}

TEST(Registry, GivesAGpuWhatWorksThere) {
  const std::vector<const Implementation*> all = implementations(Device::kCuda);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0], &implementation("cuda-sm80"));
  const Implementation& hopper = implementation("cuda-sm90a");
  EXPECT_EQ(hopper.device(), Device::kCuda);
  EXPECT_EQ(hopper.refusal(kMonarch, DType::kF32, Direction::kForward),
            "cuda-sm90a takes BF16 or F16, not F32");
  EXPECT_EQ(hopper.refusal(kMonarch, DType::kF16, Direction::kBackward),
            "cuda-sm90a has no backward");
  EXPECT_EQ(hopper.refusal(kDense, DType::kF16, Direction::kForward),
            "cuda-sm90a does monarchrt alone");
  EXPECT_EQ(all[0]->device(), Device::kCuda);
  EXPECT_EQ(all[0]->refusal(kMonarch, DType::kF32, Direction::kForward),
            "cuda-sm80 takes BF16 or F16, not F32");
  EXPECT_EQ(all[0]->refusal(kDense, DType::kBF16, Direction::kBackward),
            "cuda-sm80 has no dense attention");
  try {
    choose(kDense, DType::kF16, Direction::kForward, Device::kCuda);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_STREQ(error.what(), "[monarch_attention] cuda-sm80 has no dense attention");
  }
  for (const Implementation* cpu : implementations()) EXPECT_EQ(cpu->device(), Device::kCpu);
}

TEST(Registry, ObeysTheEnvironmentAndNamesWhatThereIs) {
  setenv("MONARCH_ISA", "generic", 1);
  EXPECT_EQ(choose(kMonarch, DType::kF32).name(), "cpu-generic");
  EXPECT_EQ(implementations().size(), 2U);
  setenv("MONARCH_ISA", "sm90a", 1);
  EXPECT_EQ(implementations(Device::kCuda)[0]->name(), "cuda-sm90a");
  EXPECT_EQ(implementations(Device::kCuda)[1]->name(), "cuda-sm80");
  const std::string_view on_cpu = choose(kMonarch, DType::kF32).name();
  unsetenv("MONARCH_ISA");
  EXPECT_EQ(choose(kMonarch, DType::kF32).name(), on_cpu);
  try {
    implementation("cuda");
    FAIL();
  } catch (const Error& error) {
    EXPECT_TRUE(
        std::string(error.what())
            .starts_with("[monarch_attention] there is no implementation 'cuda'; use one of: "));
    EXPECT_TRUE(
        std::string(error.what()).ends_with("cpu-generic, reference, cuda-sm80, cuda-sm90a"));
  }
}

}  // namespace
}  // namespace monarch::attention::test
