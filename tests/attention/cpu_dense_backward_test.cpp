// The CPU's dense backward of every instruction set against the reference.
#include <gtest/gtest.h>

#include "tests/attention/support/compare.h"

namespace monarch::attention::test {
namespace {

TEST(CpuDenseBackward, EveryVectorRemainderAndTile) {
  for (const std::int64_t tokens : {1, 2, 5, 15, 16, 17, 31, 33, 95, 96, 97, 128, 129, 300}) {
    check_backward(DenseProblem{.head_dim = 8, .q_tokens = tokens, .kv_tokens = 7});
    check_backward(DenseProblem{.head_dim = 8, .q_tokens = 5, .kv_tokens = tokens});
  }
  for (const std::int64_t head_dim : {1, 3, 4, 20, 31, 64, 96, 128, 130, 256}) {
    check_backward(
        DenseProblem{.num_heads = 2, .head_dim = head_dim, .q_tokens = 33, .kv_tokens = 100});
  }
}

TEST(CpuDenseBackward, CutIntoGroups) {
  check_backward(DenseProblem{.num_heads = 2, .head_dim = 8, .q_tokens = 500, .kv_tokens = 1700});
  check_backward(
      DenseProblem{.batch = 2, .num_heads = 3, .head_dim = 8, .q_tokens = 400, .kv_tokens = 200});
}

TEST(CpuDenseBackward, MasksDtypesStridesAndScores) {
  check_backward(DenseProblem{.batch = 2,
                              .num_heads = 3,
                              .head_dim = 16,
                              .q_tokens = 60,
                              .kv_tokens = 60,
                              .block_causal_size = 15});
  check_backward(
      DenseProblem{.head_dim = 16, .q_tokens = 900, .kv_tokens = 900, .block_causal_size = 300});
  const DenseProblem p{.num_heads = 2, .head_dim = 24, .q_tokens = 40, .kv_tokens = 70};
  check_backward(p, {.dtype = DType::kBF16}, 2e-2);
  check_backward(p, {.dtype = DType::kF16}, 2e-3);
  check_backward(p, {.padding = {.head = 3, .token = 1, .start = 1}});
  check_backward(p, {.q_factor = 0});
  check_backward(p, {.q_factor = 30}, 5e-5);
  check_backward(p, {.q_factor = 300}, 5e-4);
}

TEST(CpuDenseBackward, EveryFixture) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("dense_")) continue;
    if (check_fixture_gradients(fixture, dense_problem(fixture))) ++count;
  }
  EXPECT_GE(count, 3);
}

}  // namespace
}  // namespace monarch::attention::test
