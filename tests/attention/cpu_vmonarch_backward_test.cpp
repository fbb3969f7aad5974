// The CPU's VMonarch backward of every instruction set against the reference.
#include <gtest/gtest.h>

#include "tests/attention/support/compare.h"

namespace monarch::attention::test {
namespace {

TEST(CpuVMonarchBackward, EveryVectorRemainder) {
  for (const std::int64_t frames : {1, 2, 3, 5, 12, 17, 21})
    check_backward(VMonarchProblem{.head_dim = 8, .frames = frames, .height = 2, .width = 3});
  for (const std::int64_t width : {1, 2, 7, 16, 17, 96, 97, 193})
    check_backward(VMonarchProblem{.head_dim = 8, .frames = 3, .width = width});
  for (const std::int64_t head_dim : {1, 3, 20, 64, 130, 256}) {
    check_backward(VMonarchProblem{
        .num_heads = 2, .head_dim = head_dim, .frames = 3, .height = 3, .width = 5});
  }
}

TEST(CpuVMonarchBackward, LongRowsAreCutIntoGroups) {
  check_backward(VMonarchProblem{.head_dim = 8, .frames = 1, .height = 20, .width = 30});
  check_backward(VMonarchProblem{.head_dim = 8, .frames = 4, .width = 300, .frames_per_factor = 2});
}

TEST(CpuVMonarchBackward, ManyRowsAreTakenInTilesOfQueries) {
  check_backward(VMonarchProblem{
      .head_dim = 8, .frames = 2, .height = 20, .width = 30, .split = Split::kPixelsXFrames});
}

TEST(CpuVMonarchBackward, IterationsSplitsStoragesAndScores) {
  for (const std::int64_t iters : {1, 2, 4}) {
    check_backward(VMonarchProblem{.batch = 2,
                                   .num_heads = 2,
                                   .head_dim = 16,
                                   .frames = 4,
                                   .height = 3,
                                   .width = 5,
                                   .num_iters = iters});
    check_backward(VMonarchProblem{.head_dim = 16,
                                   .frames = 4,
                                   .height = 3,
                                   .width = 5,
                                   .num_iters = iters,
                                   .recompute_first_frame = false});
  }
  check_backward(VMonarchProblem{.head_dim = 16,
                                 .frames = 6,
                                 .height = 3,
                                 .width = 5,
                                 .softmax_scale = 0.7,
                                 .c_r_min = 1.5,
                                 .frames_per_factor = 2});
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    check_backward(
        VMonarchProblem{.head_dim = 16, .frames = 4, .height = 3, .width = 5, .split = split});
  }
  const VMonarchProblem p{.num_heads = 2, .head_dim = 20, .frames = 4, .height = 3, .width = 5};
  check_backward(p, {.dtype = DType::kBF16}, 2e-2);
  check_backward(p, {.dtype = DType::kF16}, 5e-3);
  check_backward(p, {.padding = {.head = 1, .token = 3, .start = 1}});
  check_backward(p, {.q_factor = 0});
  check_backward(p, {.q_factor = 8}, 5e-5);
  check_backward(p, {.q_factor = 30}, 5e-4);
}

}  // namespace
}  // namespace monarch::attention::test
