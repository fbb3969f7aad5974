#include "monarch/attention/layout.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

constexpr BlockLayout kTiled{.height = 6, .width = 10, .f_tied = 3, .h_reduce = 2, .w_reduce = 5};
static_assert(kTiled.block_rows() == 9 && kTiled.block_cols() == 2 && kTiled.num_blocks(6) == 20);
static_assert(kTiled.token_of_position(kTiled.position_of_token(217)) == 217);

TEST(BlockLayout, IsAPermutation) {
  for (const BlockLayout layout : {kTiled, BlockLayout{5, 7, 1, 1, 1}, BlockLayout{5, 7, 2, 5, 1},
                                   BlockLayout{1, 9, 4, 1, 3}, BlockLayout{8, 1, 1, 2, 1}}) {
    const std::int64_t tokens = 12 * layout.frame_tokens();
    std::vector<bool> seen(static_cast<std::size_t>(tokens));
    for (std::int64_t token = 0; token < tokens; ++token) {
      const std::int64_t position = layout.position_of_token(token);
      ASSERT_TRUE(position >= 0 && position < tokens && !seen[position]);
      seen[position] = true;
      ASSERT_EQ(layout.token_of_position(position), token);
      if (layout.is_token_order()) {
        ASSERT_EQ(position, token);
      }
    }
  }
}

// frame 4, row 5, column 7 of the tiled layout: group 1, band 1, column band 3; row (1, 2) of 9,
// column 1 of 2.
TEST(BlockLayout, MatchesAHandCount) {
  const std::int64_t token = (4 * 6 + 5) * 10 + 7;
  const std::int64_t block = (1 * 2 + 1) * 5 + 3;
  EXPECT_EQ(kTiled.position_of_token(token), (block * 9 + 1 * 3 + 2) * 2 + 1);
}

TEST(SplitLayout, IsAPermutation) {
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    const SplitLayout layout{.frames = 3, .height = 4, .width = 5, .split = split};
    EXPECT_EQ(layout.num_rows() * layout.num_cols(), 60);
    std::vector<bool> seen(60);
    for (std::int64_t position = 0; position < 60; ++position) {
      const std::int64_t token = layout.token_of_position(position);
      ASSERT_TRUE(token >= 0 && token < 60 && !seen[token]);
      seen[token] = true;
    }
  }
  // (h, fw): i = row 2, j = frame 1, column 3.
  const SplitLayout layout{.frames = 3, .height = 4, .width = 5, .split = Split::kRowsXFrameCols};
  EXPECT_EQ(layout.token_of_position(2 * layout.num_cols() + 1 * 5 + 3), (1 * 4 + 2) * 5 + 3);
}

TEST(CopyToBlockOrder, WritesOnlyItsRangeAndComesBack) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    const Tensor tokens = random_tensor({2, 180, 3, 4}, dtype, 1, 1.0, {.head = 2, .token = 5});
    Tensor cache = random_tensor({2, 540, 3, 4}, dtype, 2);
    const Tensor before = cache;
    copy_to_block_order(kTiled, tokens.view(), 180, cache.view());
    Tensor back({2, 180, 3, 4}, dtype);
    copy_to_token_order(kTiled, read_only(cache.view()), 180, back.view());
    EXPECT_EQ(back.values(), tokens.values());
    for (std::int64_t index = 0; index < cache.size(); ++index) {
      const std::int64_t position = index / 12 % 540;
      if (position < 180 || position >= 360) {
        ASSERT_EQ(cache.get(index), before.get(index));
      }
    }
    const std::int64_t token = 123;
    EXPECT_EQ(cache.get((180 + kTiled.position_of_token(token)) * 12 + 7),
              tokens.get(token * 12 + 7));
  }
}

}  // namespace
}  // namespace monarch::attention::test
