// The sm_90a Monarch forward on the emulated GPU against the reference, with the bounds of the
// portable kernel: it rounds the same things.
#include "monarch/attention/cuda/monarch_sm90.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "monarch/attention/cuda/monarch_forward.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "tests/attention/cuda/emulate.h"
#include "tests/attention/cuda/monarch_case.h"
#include "tests/attention/support/tensor.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

using cuda::DeviceLimits;
using cuda::MonarchSm90Args;
using cuda::MonarchSm90Plan;

constexpr DeviceLimits kHopper{132, 227 << 10, 90};
constexpr DeviceLimits kOneProcessor{1, 227 << 10, 90};  // never splits

using Case = MonarchCase<kOneProcessor>;

Tensor run(const Case& c, const MonarchInputs& in, float* lse = nullptr, bool backwards = false) {
  Tensor out(in.q.shape(), c.dtype, c.padding);
  out.fill(std::nan(""));
  const MonarchSm90Plan plan(c.problem, c.limits);
  std::vector<float> workspace(plan.workspace_bytes() / sizeof(float), std::nanf(""));
  emulate(plan.args(in.q.view(), in.k.view(), in.v.view(), out.view(), lse,
                    {workspace.data(), plan.workspace_bytes()}, emulated_tensor_map),
          c.dtype, backwards);
  return out;
}

void check(const Case& c) {
  const MonarchInputs in = random_inputs(c);
  expect_reference(c, in, run(c, in));
}

TEST(CudaMonarchSm90, GridsAndHeadDims) {
  for (const std::int64_t width : {33, 48, 52, 64}) {
    check({{.head_dim = 16, .kv_frames = 2, .height = 3, .width = width}});
  }
  for (const std::int64_t height : {1, 8, 16, 17, 33}) {
    check({{.head_dim = 16, .height = height, .width = 34}});
  }
  for (const std::int64_t head_dim : {8, 64, 72, 96, 104, 128}) {
    check({{.num_heads = 2, .head_dim = head_dim, .height = 3, .width = 35}});
    check({{.head_dim = head_dim, .height = 5, .width = 52}, DType::kF16});
  }
}

TEST(CudaMonarchSm90, RowsOfTheBenchmarkShape) {
  check({{.head_dim = 128, .height = 30, .width = 52}});
}

TEST(CudaMonarchSm90, TilingsBatchesMasksAndCaches) {
  for (const std::int64_t f_tied : {1, 2}) {
    for (const std::int64_t h_reduce : {1, 2}) {
      for (const std::int64_t w_reduce : {1, 2}) {
        MonarchProblem p{.batch = 2,
                         .head_dim = 16,
                         .q_frames = 2,
                         .kv_frames = 4,
                         .height = 4,
                         .width = 36 * w_reduce,
                         .f_tied = f_tied,
                         .h_reduce = h_reduce,
                         .w_reduce = w_reduce,
                         .kv_block_order = true};
        check({p, DType::kF16});
        p.batch = 1;
        p.q_frames = 4;
        p.block_causal_size = 2 * p.height * p.width;
        p.kv_block_order = false;
        check({p});
      }
    }
  }
}

TEST(CudaMonarchSm90, StridedViews) {
  check({{.batch = 2, .num_heads = 2, .head_dim = 24, .height = 3, .width = 37},
         DType::kBF16,
         1,
         kOneProcessor,
         {.head = 8, .token = 16, .start = 8}});
}

TEST(CudaMonarchSm90, SharpAndFlatScores) {
  for (const double factor : {0.0, 8.0}) {
    check({{.head_dim = 32, .kv_frames = 2, .height = 3, .width = 41}, DType::kF16, factor});
  }
}

TEST(CudaMonarchSm90, SplitsAndLogSumExpAreThoseOfThePortableKernel) {
  const MonarchProblem p{.num_heads = 2, .head_dim = 64, .kv_frames = 4, .height = 10, .width = 40};
  const Case whole{p, DType::kF16};
  Case split = whole;
  split.limits = kHopper;
  EXPECT_GT(MonarchSm90Plan(p, kHopper).num_splits(), 2);
  EXPECT_EQ(MonarchSm90Plan(p, kOneProcessor).num_splits(), 1);
  const MonarchInputs in = random_inputs(whole);
  Tensor want(in.q.shape(), whole.dtype);
  Tensor lses({3, 2, p.q_tokens()}, DType::kF32);
  auto* const lse = static_cast<float*>(lses.view().data);
  const std::int64_t count = 2 * p.q_tokens();
  emulate(cuda::MonarchForwardPlan(p, kOneProcessor)
              .args(in.q.view(), in.k.view(), in.v.view(), want.view(), lse, {}),
          whole.dtype);
  const Tensor one = run(whole, in, lse + count);
  const Tensor several = run(split, in, lse + 2 * count);
  EXPECT_LE(relative_error(one, want), 1e-3);
  EXPECT_LE(relative_error(several, want), 1e-3);
  for (std::int64_t index = 0; index < count; ++index) {
    ASSERT_NEAR(lse[count + index], lse[index], 1e-3) << index;
    ASSERT_NEAR(lse[2 * count + index], lse[index], 1e-3) << index;
  }
  EXPECT_EQ(run(split, in, nullptr, true).values(), several.values());
}

TEST(CudaMonarchSm90, NaNSpreadsAndStaysBehindTheMask) {
  const Case c{{.head_dim = 16, .q_frames = 2, .kv_frames = 2, .height = 3, .width = 35}};
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    MonarchInputs in = random_inputs(c);
    in.k.set(17, bad);
    const Tensor out = run(c, in);
    for (std::int64_t index = 0; index < out.size(); ++index) {
      ASSERT_FALSE(std::isfinite(out.get(index))) << index << ' ' << bad;
    }
  }
  Case causal = c;
  causal.problem.block_causal_size = 3 * 35;
  MonarchInputs in = random_inputs(causal);
  const std::int64_t frame = std::int64_t{3} * 35 * 16;
  for (Tensor* t : {&in.k, &in.v}) {
    for (std::int64_t index = frame; index < 2 * frame; ++index) t->set(index, std::nan(""));
  }
  const Tensor out = run(causal, in);
  for (std::int64_t index = 0; index < 2 * frame; ++index) {
    ASSERT_EQ(std::isfinite(out.get(index)), index < frame) << index;
  }
}

// What a plan makes of the benchmark's shapes.
TEST(CudaMonarchSm90, ClustersAndTiles) {
  struct Want {
    std::int64_t q_frames;
    std::int64_t h_reduce;
    int cluster;
    int tiles;
    int launched;
    int row_fragments;
  };
  for (const Want& want : {Want{3, 1, 3, 21, 21, 2}, Want{1, 1, 4, 7, 8, 2},
                           Want{3, 2, 3, 42, 42, 1}, Want{4, 1, 4, 28, 28, 2}}) {
    const MonarchProblem p{.num_heads = 12,
                           .head_dim = 128,
                           .q_frames = want.q_frames,
                           .kv_frames = 21,
                           .height = 30,
                           .width = 52,
                           .h_reduce = want.h_reduce};
    Tensor q({1, p.q_tokens(), 12, 128}, DType::kBF16);
    Tensor kv({1, p.kv_tokens(), 12, 128}, DType::kBF16);
    const MonarchSm90Plan plan(p, kHopper);
    std::vector<float> workspace(plan.workspace_bytes() / sizeof(float));
    const MonarchSm90Args args =
        plan.args(read_only(q.view()), read_only(kv.view()), read_only(kv.view()), q.view(),
                  nullptr, {workspace.data(), plan.workspace_bytes()}, emulated_tensor_map);
    EXPECT_EQ(args.cluster, want.cluster);
    EXPECT_EQ(args.tiles, want.tiles);
    EXPECT_EQ(args.forward.column_tiles, want.launched);
    EXPECT_EQ(args.forward.row_fragments, want.row_fragments);
    EXPECT_EQ(args.forward.num_blocks % args.cluster, 0);
    EXPECT_EQ(args.forward.shared.bytes, 218672U);
  }
}

TEST(CudaMonarchSm90, NamesWhatItLeavesToThePortableKernel) {
  MonarchProblem p{.head_dim = 128, .height = 2, .width = 52};
  const auto plan_error = [&](const DeviceLimits& limits) {
    return message_of([&] { MonarchSm90Plan(p, limits); });
  };
  EXPECT_EQ(plan_error({170, 99 << 10, 120}),
            "[monarch_attention] cuda-sm90a needs compute capability 9.0; this device has 12.0");
  EXPECT_EQ(
      plan_error({132, 99 << 10, 90}),
      "[monarch_attention] blocks of 52 columns with head_dim 128 need 218672 bytes of shared "
      "memory; this device has 101376 a thread block. Use a larger w_reduce");
  for (const std::int64_t width : {32, 65}) {
    p.width = width;
    EXPECT_EQ(plan_error(kHopper),
              "[monarch_attention] cuda-sm90a takes blocks of 33 to 64 columns, not " +
                  std::to_string(width) + "; cuda-sm80 takes others");
  }
}

}  // namespace
}  // namespace monarch::attention::test
