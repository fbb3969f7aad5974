// The CPU's Monarch attention of several refinement steps, both directions, of every instruction
// set against the reference.
#include <gtest/gtest.h>

#include "tests/attention/support/compare.h"

namespace monarch::attention::test {
namespace {

void check(const MonarchProblem& p, const Inputs& inputs = {}, double forward = 5e-6,
           double backward = 5e-5) {
  check_forward(p, inputs, forward);
  check_backward(p, inputs, backward);
}

TEST(CpuMonarchRefined, EveryVectorRemainder) {
  for (const std::int64_t width : {1, 2, 4, 5, 12, 16, 17, 52, 96, 97}) {
    check({.head_dim = 8, .kv_frames = 2, .height = 3, .width = width, .num_iters = 2});
  }
  for (const std::int64_t height : {1, 2, 5, 16, 17, 30}) {
    check({.head_dim = 8, .kv_frames = 2, .height = height, .width = 5, .num_iters = 2});
  }
  for (const std::int64_t head_dim : {1, 3, 16, 20, 64, 130, 256}) {
    check({.num_heads = 2,
           .head_dim = head_dim,
           .kv_frames = 2,
           .height = 4,
           .width = 6,
           .num_iters = 2});
  }
}

TEST(CpuMonarchRefined, ManyRowsAreTakenInTilesOfQueries) {
  check({.head_dim = 8, .kv_frames = 20, .height = 65, .width = 2, .num_iters = 2});
}

TEST(CpuMonarchRefined, IterationsTilingsCachesAndStorage) {
  for (const std::int64_t iters : {2, 3, 5}) {
    check({.batch = 2,
           .num_heads = 2,
           .head_dim = 16,
           .q_frames = 2,
           .kv_frames = 3,
           .height = 4,
           .width = 6,
           .num_iters = iters});
  }
  MonarchProblem p{.num_heads = 2,
                   .head_dim = 16,
                   .q_frames = 2,
                   .kv_frames = 4,
                   .height = 4,
                   .width = 6,
                   .f_tied = 2,
                   .h_reduce = 2,
                   .w_reduce = 3,
                   .num_iters = 2};
  check(p);
  p.kv_block_order = true;
  check(p);
  check(p, {.padding = {.head = 1, .token = 3, .start = 1}});
  check(p, {.dtype = DType::kBF16}, 4e-3, 2e-2);
  check(p, {.dtype = DType::kF16}, 5e-4, 5e-3);
  check(p, {.q_factor = 0});
  check(p, {.q_factor = 8}, 2e-5, 5e-4);
}

TEST(CpuMonarchRefined, EveryFixture) {
  int outputs = 0;
  int gradients = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("monarch_attention")) continue;
    const MonarchProblem p = monarch_problem(fixture);
    if (p.num_iters == 1) continue;
    check_fixture_output(fixture, p);
    ++outputs;
    if (check_fixture_gradients(fixture, p)) ++gradients;
  }
  EXPECT_GE(outputs, 5);
  EXPECT_GE(gradients, 5);
}

}  // namespace
}  // namespace monarch::attention::test
