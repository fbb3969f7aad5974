// What must hold of Monarch attention whatever the numbers, checked on the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_cached.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_forward.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

constexpr double kExact = 1e-12;

struct Operands {
  Tensor q;
  Tensor k;
  Tensor v;
};

template <typename Problem>
Operands operands(const Problem& p, std::int64_t q_tokens, std::int64_t kv_tokens,
                  double q_factor = 1, Padding padding = {}) {
  return {random_tensor({p.batch, q_tokens, p.num_heads, p.head_dim}, DType::kF64, 1, q_factor,
                        padding),
          random_tensor({p.batch, kv_tokens, p.num_heads, p.head_dim}, DType::kF64, 2, 1, padding),
          random_tensor({p.batch, kv_tokens, p.num_heads, p.head_dim}, DType::kF64, 3, 1, padding)};
}

Operands operands(const MonarchProblem& p, double q_factor = 1, Padding padding = {}) {
  return operands(p, p.q_tokens(), p.kv_tokens(), q_factor, padding);
}

Tensor run(const MonarchProblem& p, const Operands& x) {
  Tensor out(x.q.shape(), DType::kF64);
  reference::monarch_forward(p, x.q.view(), x.k.view(), x.v.view(), out.view());
  return out;
}

Tensor run_dense(const DenseProblem& p, const Operands& x) {
  Tensor out(x.q.shape(), DType::kF64);
  reference::dense_forward(p, x.q.view(), x.k.view(), x.v.view(), out.view());
  return out;
}

Tensor run(const VMonarchProblem& p, const Operands& x) {
  Tensor out(x.q.shape(), DType::kF64);
  reference::vmonarch_forward(p, x.q.view(), x.k.view(), x.v.view(), out.view());
  return out;
}

DenseProblem dense_of(const MonarchProblem& p) {
  return {p.batch, p.num_heads, p.head_dim, p.q_tokens(), p.kv_tokens(), p.scale()};
}

const std::vector<MonarchProblem>& shapes() {
  static const std::vector<MonarchProblem> all{
      {.head_dim = 1},
      {.head_dim = 3, .q_frames = 1, .kv_frames = 2, .height = 1, .width = 1},
      {.batch = 2,
       .num_heads = 3,
       .head_dim = 5,
       .q_frames = 2,
       .kv_frames = 3,
       .height = 3,
       .width = 4},
      {.head_dim = 7,
       .q_frames = 2,
       .kv_frames = 4,
       .height = 4,
       .width = 6,
       .f_tied = 2,
       .h_reduce = 2,
       .w_reduce = 3,
       .num_iters = 2},
      {.num_heads = 2,
       .head_dim = 4,
       .q_frames = 3,
       .kv_frames = 3,
       .height = 5,
       .width = 7,
       .num_iters = 3,
       .softmax_scale = 0.9},
  };
  return all;
}

TEST(MonarchReference, ConstantValuesComeBack) {
  for (const MonarchProblem& p : shapes()) {
    for (const double q_factor : {0.0, 1.0, 30.0}) {
      Operands x = operands(p, q_factor);
      x.v.fill(2.5);
      const Tensor out = run(p, x);
      for (std::int64_t index = 0; index < out.size(); ++index)
        ASSERT_NEAR(out.get(index), 2.5, 1e-9);
    }
  }
}

TEST(MonarchReference, ImpliedRowsSumToOne) {
  for (const MonarchProblem& p : shapes()) {
    const Operands x = operands(p, 3.0);
    Tensor out(x.q.shape(), DType::kF64);
    reference::monarch_forward(
        p, x.q.view(), x.k.view(), x.v.view(), out.view(),
        [&](std::int64_t, std::int64_t, std::int64_t, const reference::StepShape& shape,
            const auto& steps, const reference::Matrix&) {
          for (const reference::MonarchStep& step : steps) {
            for (std::int64_t j = 0; j < shape.block_cols; ++j) {
              for (std::int64_t i = 0; i < shape.block_rows; ++i) {
                double sum = 0;
                for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
                  for (std::int64_t k = 0; k < shape.block_rows; ++k) {
                    const auto r = step.r[shape.fkj(f, k, j)];
                    sum += step.l[shape.fjk(f, j, k)][i] * std::accumulate(r.begin(), r.end(), 0.0);
                  }
                }
                ASSERT_NEAR(sum, 1.0, 1e-9);
              }
            }
          }
        });
  }
}

TEST(MonarchReference, OneBlockRowEqualsDense) {
  const MonarchProblem row{
      .num_heads = 2, .head_dim = 6, .q_frames = 2, .kv_frames = 3, .height = 1, .width = 7};
  const MonarchProblem bands{
      .head_dim = 6, .q_frames = 2, .kv_frames = 2, .height = 4, .width = 5, .h_reduce = 4};
  for (const MonarchProblem& p : {row, bands}) {
    const Operands x = operands(p, 2.0);
    EXPECT_LT(relative_error(run(p, x), run_dense(dense_of(p), x)), kExact);
  }
}

TEST(MonarchReference, OneBlockColumnEqualsDenseAfterAnyIterations) {
  for (const std::int64_t iters : {1, 2, 4}) {
    const MonarchProblem p{.head_dim = 6,
                           .q_frames = 2,
                           .kv_frames = 4,
                           .height = 5,
                           .width = 3,
                           .f_tied = 2,
                           .w_reduce = 3,
                           .num_iters = iters};
    const Operands x = operands(p, 2.0);
    EXPECT_LT(relative_error(run(p, x), run_dense(dense_of(p), x)), kExact);
  }
}

// Key blocks reordered: a rotation of the frames is one of the blocks.
TEST(MonarchReference, OrderOfKeyBlocksDoesNotMatter) {
  for (const std::int64_t iters : {1, 2}) {
    const MonarchProblem p{.head_dim = 5,
                           .q_frames = 2,
                           .kv_frames = 6,
                           .height = 4,
                           .width = 3,
                           .f_tied = 2,
                           .num_iters = iters};
    const Operands x = operands(p);
    Operands rotated = x;
    const std::int64_t stride = 2 * 12 * p.head_dim;
    for (std::int64_t index = 0; index < x.k.size(); ++index) {
      rotated.k.set((index + stride) % x.k.size(), x.k.get(index));
      rotated.v.set((index + stride) % x.v.size(), x.v.get(index));
    }
    EXPECT_LT(relative_error(run(p, rotated), run(p, x)), kExact);
  }
}

TEST(MonarchReference, CachedEqualsUncached) {
  const MonarchProblem uncached{.num_heads = 2,
                                .head_dim = 5,
                                .q_frames = 2,
                                .kv_frames = 6,
                                .height = 4,
                                .width = 6,
                                .f_tied = 2,
                                .h_reduce = 2,
                                .w_reduce = 3};
  const Operands x = operands(uncached);
  MonarchProblem cached = uncached;
  cached.kv_block_order = true;
  Tensor k_cache(x.k.shape(), DType::kF64);
  Tensor v_cache(x.v.shape(), DType::kF64);
  Tensor out(x.q.shape(), DType::kF64);
  for (const std::int64_t start : {0, 48, 96, 144, 192}) {  // frame pairs; the last ones twice
    const std::int64_t at = std::min<std::int64_t>(start, 96);
    ConstTensorView new_k = x.k.view();
    ConstTensorView new_v = x.v.view();
    new_k.shape[1] = new_v.shape[1] = 48;
    new_k.data = static_cast<const double*>(new_k.data) + at * new_k.strides[1];
    new_v.data = static_cast<const double*>(new_v.data) + at * new_v.strides[1];
    reference::monarch_cached_forward(cached, {at, at + 48}, x.q.view(), k_cache.view(),
                                      v_cache.view(), new_k, new_v, out.view());
  }
  EXPECT_EQ(relative_error(out, run(uncached, x)), 0);
}

TEST(MonarchReference, NoBlockSeesTheFuture) {
  const MonarchProblem p{.head_dim = 4,
                         .q_frames = 6,
                         .kv_frames = 6,
                         .height = 4,
                         .width = 3,
                         .f_tied = 2,
                         .h_reduce = 2,
                         .block_causal_size = 24};
  const Operands x = operands(p);
  const Tensor before = run(p, x);
  Operands changed = x;
  for (std::int64_t index = 48 * p.head_dim; index < x.k.size(); ++index) {  // frames 4 and 5
    changed.k.set(index, 100);
    changed.v.set(index, std::numeric_limits<double>::infinity());
  }
  const Tensor after = run(p, changed);
  for (std::int64_t index = 0; index < 48 * p.head_dim; ++index)
    ASSERT_EQ(after.get(index), before.get(index));
  EXPECT_FALSE(std::isfinite(after.get(48 * p.head_dim)));

  // The first block sees only itself, all of it.
  MonarchProblem first = p;
  first.q_frames = first.kv_frames = 2;
  first.block_causal_size = 0;
  const auto head_of = [&](const Tensor& tensor) {
    Tensor part({1, 24, 1, p.head_dim}, DType::kF64);
    for (std::int64_t index = 0; index < part.size(); ++index) part.set(index, tensor.get(index));
    return part;
  };
  const Tensor alone = run(first, {head_of(x.q), head_of(x.k), head_of(x.v)});
  EXPECT_LT(relative_error(head_of(before), alone), kExact);
}

TEST(MonarchReference, StridedEqualsContiguous) {
  for (const MonarchProblem& p : shapes()) {
    const Padding padding{.head = 3, .token = 7, .start = 1};
    EXPECT_EQ(relative_error(run(p, operands(p, 1.0, padding)), run(p, operands(p))), 0);
  }
}

TEST(MonarchReference, NaNSpreadsAndHugeLogitsDoNot) {
  const MonarchProblem p{.head_dim = 4, .q_frames = 2, .kv_frames = 2, .height = 3, .width = 4};
  Operands x = operands(p, 1e6);
  const Tensor huge = run(p, x);
  for (std::int64_t index = 0; index < huge.size(); ++index)
    ASSERT_TRUE(std::isfinite(huge.get(index)));
  x.k.set(5, std::nan(""));
  const Tensor out = run(p, x);
  for (std::int64_t index = 0; index < out.size(); ++index) ASSERT_TRUE(std::isnan(out.get(index)));
}

TEST(DenseReference, NoBlockSeesTheFuture) {
  const DenseProblem p{.head_dim = 4, .q_tokens = 12, .kv_tokens = 12, .block_causal_size = 4};
  Operands x = operands(p, 12, 12);
  const Tensor before = run_dense(p, x);
  for (std::int64_t index = 8 * 4; index < x.k.size(); ++index) x.k.set(index, 50);
  const Tensor after = run_dense(p, x);
  for (std::int64_t index = 0; index < 8 * 4; ++index)
    ASSERT_EQ(after.get(index), before.get(index));
}

TEST(VMonarchReference, OnePositionOrOneFactorRowEqualsDense) {
  const VMonarchProblem position{
      .head_dim = 5, .frames = 7, .num_iters = 1, .recompute_first_frame = false};
  const VMonarchProblem factor{.num_heads = 2,
                               .head_dim = 5,
                               .frames = 4,
                               .height = 2,
                               .width = 3,
                               .num_iters = 1,
                               .recompute_first_frame = false,
                               .frames_per_factor = 4};
  for (const VMonarchProblem& p : {position, factor}) {
    const Operands x = operands(p, p.num_tokens(), p.num_tokens(), 2.0);
    const DenseProblem dense{p.batch,        p.num_heads,    p.head_dim,
                             p.num_tokens(), p.num_tokens(), p.scale()};
    EXPECT_LT(relative_error(run(p, x), run_dense(dense, x)), kExact);
  }
}

TEST(VMonarchReference, EverySplitKeepsConstantsAndItsDegenerateGridIsDense) {
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    VMonarchProblem p{.head_dim = 5, .frames = 3, .height = 4, .width = 2, .split = split};
    Operands x = operands(p, 24, 24);
    x.v.fill(-1.5);
    const Tensor out = run(p, x);
    for (std::int64_t index = 0; index < out.size(); ++index)
      ASSERT_NEAR(out.get(index), -1.5, 1e-12);
  }
}

// (h, fw) of a video equals (f, hw) of the same tokens with rows for frames.
TEST(VMonarchReference, SplitsAreTheSameFormulaOnPermutedTokens) {
  const VMonarchProblem rows{.head_dim = 5,
                             .frames = 3,
                             .height = 4,
                             .width = 2,
                             .recompute_first_frame = false,
                             .split = Split::kRowsXFrameCols};
  const VMonarchProblem frames{
      .head_dim = 5, .frames = 4, .height = 3, .width = 2, .recompute_first_frame = false};
  const Operands x = operands(rows, 24, 24);
  const auto permuted = [&](const Tensor& tensor) {
    Tensor result(tensor.shape(), DType::kF64);
    for (std::int64_t position = 0; position < 24; ++position) {
      for (std::int64_t d = 0; d < 5; ++d) {
        result.set(position * 5 + d, tensor.get(rows.layout().token_of_position(position) * 5 + d));
      }
    }
    return result;
  };
  EXPECT_EQ(relative_error(permuted(run(rows, x)),
                           run(frames, {permuted(x.q), permuted(x.k), permuted(x.v)})),
            0);
}

}  // namespace
}  // namespace monarch::attention::test
