// The CPU's Monarch backward of every instruction set against the reference.
#include <gtest/gtest.h>

#include "tests/attention/support/compare.h"

namespace monarch::attention::test {
namespace {

TEST(CpuMonarchBackward, EveryVectorRemainder) {
  for (const std::int64_t width : {1, 2, 3, 4, 5, 8, 12, 13, 16, 17, 28, 52, 65}) {
    check_backward(MonarchProblem{.head_dim = 8, .kv_frames = 2, .height = 3, .width = width});
  }
  for (const std::int64_t height : {1, 2, 4, 5, 12, 16, 17, 30, 65}) {
    check_backward(MonarchProblem{.head_dim = 8, .kv_frames = 2, .height = height, .width = 5});
  }
  for (const std::int64_t head_dim : {1, 3, 5, 16, 20, 31, 64, 96, 128, 130}) {
    check_backward(MonarchProblem{
        .num_heads = 2, .head_dim = head_dim, .kv_frames = 2, .height = 5, .width = 6});
  }
}

TEST(CpuMonarchBackward, TilingsMasksCachesScoresAndStorage) {
  check_backward(MonarchProblem{.batch = 2,
                                .num_heads = 3,
                                .head_dim = 16,
                                .q_frames = 2,
                                .kv_frames = 3,
                                .height = 4,
                                .width = 6});
  MonarchProblem p{.num_heads = 2,
                   .head_dim = 16,
                   .q_frames = 2,
                   .kv_frames = 4,
                   .height = 4,
                   .width = 6,
                   .f_tied = 2,
                   .h_reduce = 2,
                   .w_reduce = 3};
  check_backward(p);
  check_backward(p, {.q_factor = 30}, 5e-5);
  p.kv_block_order = true;
  check_backward(p);
  check_backward(p, {.padding = {.head = 1, .token = 3, .start = 1}});
  check_backward(p, {.dtype = DType::kBF16}, 2e-2);
  p.kv_block_order = false;
  p.q_frames = 4;
  p.block_causal_size = 48;
  check_backward(p);
}

// Query blocks stand side by side as far as a tile goes: all of them, some, or one; key gradients
// are summed where these are not all, and zero where a mask hides keys from every query.
TEST(CpuMonarchBackward, QueryBlocksSideBySide) {
  for (const std::int64_t q_frames : {1, 2, 3, 5, 7}) {
    check_backward(MonarchProblem{
        .head_dim = 8, .q_frames = q_frames, .kv_frames = 3, .height = 3, .width = 52});
    check_backward(MonarchProblem{
        .head_dim = 8, .q_frames = q_frames, .kv_frames = 2, .height = 2, .width = 90});
  }
  MonarchProblem causal{.head_dim = 8, .q_frames = 4, .kv_frames = 4, .height = 2, .width = 30};
  for (const std::int64_t frames : {1, 2, 4}) {
    causal.block_causal_size = frames * 60;
    check_backward(causal);
  }
}

TEST(CpuMonarchBackward, ManyKeyBlocksAreTakenInParts) {
  check_backward(MonarchProblem{.head_dim = 2, .kv_frames = 450, .height = 16, .width = 16});
}

TEST(CpuMonarchBackward, EveryFixtureOfOneStep) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("monarch_attention")) continue;
    const MonarchProblem p = monarch_problem(fixture);
    if (p.num_iters == 1 && check_fixture_gradients(fixture, p)) ++count;
  }
  EXPECT_GE(count, 5);
}

}  // namespace
}  // namespace monarch::attention::test
