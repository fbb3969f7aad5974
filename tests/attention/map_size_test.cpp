#include "monarch/attention/map_size.h"

#include <gtest/gtest.h>

namespace monarch::attention::test {
namespace {

TEST(MapSize, OfDenseAttentionIsTheWholeMap) {
  const DenseProblem problem{.batch = 2, .num_heads = 3, .q_tokens = 4, .kv_tokens = 10};
  EXPECT_EQ(map_size(problem), (MapSize{240, 240}));
  // Blocks of 2 of 6 tokens see 2, 4 and 6 keys.
  const DenseProblem causal{.q_tokens = 6, .kv_tokens = 6, .block_causal_size = 2};
  EXPECT_EQ(map_size(causal), (MapSize{24, 24}));
}

// 1 - 1/b1 - 1/b2 whatever the number of frames; here for a chunk of three frames.
TEST(MapSize, OfMonarchIsThatOfItsBlocks) {
  MonarchProblem problem{.num_heads = 4, .q_frames = 3, .kv_frames = 6, .height = 8, .width = 12};
  EXPECT_DOUBLE_EQ(map_size(problem).sparsity(), 1 - 1.0 / 8 - 1.0 / 12);
  EXPECT_EQ(map_size(problem).dense, 4 * (3 * 96) * (6 * 96));
  problem.f_tied = 3;
  EXPECT_DOUBLE_EQ(map_size(problem).sparsity(), 1 - 1.0 / 24 - 1.0 / 12);
  EXPECT_EQ(map_size(problem).dense, 4 * (3 * 96) * (6 * 96));
  problem.kv_frames = 21;
  EXPECT_DOUBLE_EQ(map_size(problem).sparsity(), 1 - 1.0 / 24 - 1.0 / 12);
  problem.h_reduce = 2;
  problem.w_reduce = 3;
  EXPECT_DOUBLE_EQ(map_size(problem).sparsity(), 1 - 1.0 / 12 - 1.0 / 4);
}

TEST(MapSize, OfBlockCausalMonarchCountsWhatIsSeen) {
  const MonarchProblem problem{
      .q_frames = 4, .kv_frames = 4, .height = 2, .width = 5, .block_causal_size = 20};
  // Groups of two frames see two and four frames.
  EXPECT_EQ(map_size(problem), (MapSize{12 * (2 * 25 + 5 * 4), 12 * 100}));
}

TEST(MapSize, OfVMonarchHasTheExactRowsOfTheFirstFrame) {
  VMonarchProblem problem{.frames = 3, .height = 4, .width = 5};
  const std::int64_t factors = 3 * 20 * 20 + 20 * 3 * 3;
  EXPECT_EQ(map_size(problem), (MapSize{factors + 20 * 60, 3600}));
  problem.recompute_first_frame = false;
  EXPECT_EQ(map_size(problem), (MapSize{factors, 3600}));
}

TEST(MapSize, Adds) {
  MapSize sum{.computed = 1, .dense = 4};
  sum += {.computed = 3, .dense = 4};
  EXPECT_DOUBLE_EQ(sum.sparsity(), 0.5);
  EXPECT_EQ(MapSize{}.sparsity(), 0);
}

}  // namespace
}  // namespace monarch::attention::test
