// The operators against the reference in double, forward and backward: on the kernels, and composed
// of Torch's operators.
#include "monarch/ops/attention.h"

#include <gtest/gtest.h>

#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_backward.h"
#include "monarch/attention/reference/vmonarch_forward.h"
#include "monarch/base/error.h"
#include "tests/ops/support/operands.h"
#include "tests/support/message_of.h"

namespace monarch::ops {
namespace {

namespace reference = attention::reference;

// Runs `check` once for each way to attend.
template <typename Check>
void on_both_paths(const Check& check) {
  {
    SCOPED_TRACE("kernels");
    check();
  }
  SCOPED_TRACE("composed");
  const ComposedAttentionGuard guard;
  check();
}

// Gradients of run(operands) in double and float on both paths.
template <typename Run>
void expect_gradients(const Operands& wide, const Run& run, const at::Tensor& grad_out,
                      const std::vector<at::Tensor>& want) {
  on_both_paths([&] {
    for (const auto& [type, bound] : {std::pair{at::kDouble, 1e-11}, {at::kFloat, 1e-5}}) {
      Operands o = wide.to(type);
      const std::vector<at::Tensor> leaves = o.leaves();
      const std::vector<at::Tensor> got = gradients(run(o), leaves, grad_out);
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_LT((got[i].to(at::kDouble) - want[i]).norm().item<double>(),
                  bound * std::max(1.0, want[i].norm().item<double>()))
            << "operand " << i << " in " << type;
      }
    }
  });
}

struct MonarchCase {
  const char* name;
  Grid q_grid, kv_grid;
  MonarchOptions options;
  int64_t batch = 1, heads = 1, dim = 8;
  std::optional<double> scale = {};
  int64_t block_tokens = 0;

  attention::MonarchProblem problem() const {
    return {.batch = batch,
            .num_heads = heads,
            .head_dim = dim,
            .q_frames = q_grid.frames,
            .kv_frames = kv_grid.frames,
            .height = q_grid.height,
            .width = q_grid.width,
            .f_tied = options.f_tied,
            .h_reduce = options.h_reduce,
            .w_reduce = options.w_reduce,
            .num_iters = options.num_iters,
            .softmax_scale = scale,
            .block_causal_size = block_tokens};
  }
  at::Tensor run(const Operands& o) const {
    return block_tokens == 0 ? monarch_attention(o.q, o.k, o.v, options, q_grid, kv_grid, scale)
                             : monarch_attention_block_causal(o.q, o.k, o.v, options, q_grid,
                                                              block_tokens, scale);
  }
};

MonarchOptions tiling(int64_t num_iters, int64_t f_tied, int64_t h_reduce, int64_t w_reduce) {
  return {.enable = true,
          .num_iters = num_iters,
          .f_tied = f_tied,
          .h_reduce = h_reduce,
          .w_reduce = w_reduce};
}

const MonarchCase kMonarchCases[] = {
    {.name = "plain", .q_grid = {2, 3, 4}, .kv_grid = {2, 3, 4}, .options = tiling(1, 1, 1, 1)},
    {.name = "one_token", .q_grid = {1, 1, 1}, .kv_grid = {1, 1, 1}, .options = tiling(2, 1, 1, 1)},
    {.name = "batch_heads",
     .q_grid = {2, 3, 4},
     .kv_grid = {2, 3, 4},
     .options = tiling(1, 1, 1, 1),
     .batch = 2,
     .heads = 3,
     .scale = 0.7},
    {.name = "more_keys",
     .q_grid = {2, 4, 3},
     .kv_grid = {6, 4, 3},
     .options = tiling(1, 2, 2, 1),
     .heads = 2},
    {.name = "tiled_iterated",
     .q_grid = {3, 4, 6},
     .kv_grid = {6, 4, 6},
     .options = tiling(3, 3, 2, 3),
     .batch = 2,
     .heads = 2},
    {.name = "iterated", .q_grid = {2, 5, 3}, .kv_grid = {3, 5, 3}, .options = tiling(2, 1, 1, 1)},
    {.name = "block_causal",
     .q_grid = {4, 2, 4},
     .kv_grid = {4, 2, 4},
     .options = tiling(1, 2, 1, 2),
     .batch = 2,
     .heads = 2,
     .block_tokens = 16},
    {.name = "half_frame_blocks",
     .q_grid = {2, 4, 2},
     .kv_grid = {2, 4, 2},
     .options = tiling(1, 1, 2, 1),
     .block_tokens = 4},
};

class MonarchCases : public testing::TestWithParam<MonarchCase> {};

TEST_P(MonarchCases, MatchReference) {
  const MonarchCase& c = GetParam();
  const Operands wide =
      random_operands(c.batch, c.q_grid.tokens(), c.kv_grid.tokens(), c.heads, c.dim);
  const at::Tensor want = at::empty_like(wide.q);
  reference::monarch_forward(c.problem(), const_view(wide.q), const_view(wide.k),
                             const_view(wide.v), view(want));
  on_both_paths([&] {
    EXPECT_LT(error(c.run(wide), want), 1e-12);
    EXPECT_LT(error(c.run(wide.to(at::kFloat)), want), 5e-6);
    EXPECT_LT(error(c.run(wide.to(at::kBFloat16)), want), 4e-3);
    EXPECT_LT(error(c.run(wide.to(at::kHalf)), want), 5e-4);
  });
}

TEST_P(MonarchCases, GradientsMatchReference) {
  const MonarchCase& c = GetParam();
  Operands wide = random_operands(c.batch, c.q_grid.tokens(), c.kv_grid.tokens(), c.heads, c.dim);
  const at::Tensor grad_out = normal(wide.q.sizes(), 4);
  const std::vector<at::Tensor> want{at::empty_like(wide.q), at::empty_like(wide.k),
                                     at::empty_like(wide.v)};
  reference::monarch_backward(c.problem(), const_view(wide.q), const_view(wide.k),
                              const_view(wide.v), const_view(grad_out), view(want[0]),
                              view(want[1]), view(want[2]));
  expect_gradients(
      wide, [&](const Operands& o) { return c.run(o); }, grad_out, want);
}

INSTANTIATE_TEST_SUITE_P(Ops, MonarchCases, testing::ValuesIn(kMonarchCases),
                         [](const auto& info) { return info.param.name; });

TEST(ComposedMonarchAttention, ChunksEqualWhole) {
  const ComposedAttentionGuard composed;
  // Large enough to be cut over samples, heads and query tiles when no gradient is needed.
  for (const Grid q_grid : {Grid{2, 12, 30}, Grid{8, 12, 30}}) {
    const Grid kv_grid{8, 12, 30};
    Operands o = random_operands(2, q_grid.tokens(), kv_grid.tokens(), 3, 64).to(at::kFloat);
    const MonarchOptions options = tiling(2, 2, 1, 1);
    const at::Tensor chunked = monarch_attention(o.q, o.k, o.v, options, q_grid, kv_grid);
    o.leaves();
    const at::Tensor whole = monarch_attention(o.q, o.k, o.v, options, q_grid, kv_grid);
    EXPECT_TRUE(whole.requires_grad());
    EXPECT_LT(error(chunked, whole.detach().to(at::kDouble)), 1e-6);
  }
}

TEST(MonarchAttention, ReadsKeysInBlockOrder) {
  const Grid q_grid{3, 4, 6}, kv_grid{6, 4, 6};
  const MonarchOptions options = tiling(1, 3, 2, 3);
  const Operands o = random_operands(2, q_grid.tokens(), kv_grid.tokens(), 2, 8);
  EXPECT_TRUE(at::equal(
      monarch_attention(o.q, o.k, o.v, options, q_grid, kv_grid),
      monarch_attention_blocks(o.q, to_block_order(o.k, kv_grid, options),
                               to_block_order(o.v, kv_grid, options), options, q_grid, kv_grid)));
}

TEST(BlockOrder, IsThatOfTheLayout) {
  const Grid grid{4, 6, 4};
  for (const MonarchOptions& options :
       {tiling(1, 1, 1, 1), tiling(1, 2, 1, 1), tiling(1, 1, 3, 1), tiling(1, 2, 3, 1),
        tiling(1, 1, 1, 2), tiling(1, 4, 2, 4)}) {
    const attention::BlockLayout layout{grid.height, grid.width, options.f_tied, options.h_reduce,
                                        options.w_reduce};
    const at::Tensor tokens = at::arange(grid.tokens()).view({1, -1, 1, 1});
    const at::Tensor blocks = to_block_order(tokens, grid, options);
    for (int64_t position = 0; position < grid.tokens(); ++position) {
      ASSERT_EQ(blocks.flatten()[position].item<int64_t>(), layout.token_of_position(position));
    }
    EXPECT_TRUE(at::equal(from_block_order(blocks, grid, options), tokens));
  }
}

TEST(DenseAttention, MatchesReference) {
  for (const int64_t block : {0, 6, 8}) {
    Operands wide = random_operands(2, 24, 24, 2, 8);
    const attention::DenseProblem problem{.batch = 2,
                                          .num_heads = 2,
                                          .head_dim = 8,
                                          .q_tokens = 24,
                                          .kv_tokens = 24,
                                          .softmax_scale = 0.4,
                                          .block_causal_size = block};
    const auto run = [&](const Operands& o) {
      return block == 0 ? dense_attention(o.q, o.k, o.v, 0.4)
                        : dense_attention_block_causal(o.q, o.k, o.v, block, 0.4);
    };
    const at::Tensor want = at::empty_like(wide.q);
    reference::dense_forward(problem, const_view(wide.q), const_view(wide.k), const_view(wide.v),
                             view(want));
    on_both_paths([&] {
      EXPECT_LT(error(run(wide), want), 1e-12);
      EXPECT_LT(error(run(wide.to(at::kFloat)), want), 5e-6);
      EXPECT_LT(error(run(wide.to(at::kBFloat16)), want), 2e-2);
    });

    const at::Tensor grad_out = normal(wide.q.sizes(), 4);
    const std::vector<at::Tensor> grads{at::empty_like(want), at::empty_like(want),
                                        at::empty_like(want)};
    reference::dense_backward(problem, const_view(wide.q), const_view(wide.k), const_view(wide.v),
                              const_view(grad_out), view(grads[0]), view(grads[1]), view(grads[2]));
    expect_gradients(wide, run, grad_out, grads);
  }
}

TEST(DenseAttention, TokensSeeThemselvesOutsideTheirRange) {
  const Operands o = random_operands(1, 6, 6, 1, 4).to(at::kFloat);
  // Queries 2..5 see keys 4, 5 and themselves.
  const at::Tensor got = dense_attention_runs(
      o.q, o.k, o.v,
      {{.query_begin = 0, .query_end = 2, .key_begin = 0, .key_end = 2},
       {.query_begin = 2, .query_end = 6, .key_begin = 4, .key_end = 6, .sees_self = true}});
  for (int64_t t = 2; t < 6; ++t) {
    std::vector<int64_t> visible{4, 5};
    if (t < 4) visible.insert(visible.begin(), t);
    const at::Tensor index = at::tensor(visible);
    const at::Tensor want = dense_attention(o.q.slice(1, t, t + 1), o.k.index_select(1, index),
                                            o.v.index_select(1, index));
    EXPECT_LT(error(got.slice(1, t, t + 1), want.to(at::kDouble)), 1e-6) << "query " << t;
  }
}

TEST(VMonarchAttention, EverySplitMatchesReference) {
  const Grid grid{4, 2, 3};
  for (const char* split : {"f,hw", "fh,w", "w,fh", "hw,f", "fw,h", "h,fw"}) {
    const VMonarchOptions options =
        VMonarchOptions::from_json(Json{{"split", split}, {"num_iters", 2}});
    const attention::VMonarchProblem problem{.batch = 2,
                                             .num_heads = 2,
                                             .head_dim = 8,
                                             .frames = 4,
                                             .height = 2,
                                             .width = 3,
                                             .split = attention::parse_split(split)};
    const Operands wide = random_operands(2, grid.tokens(), grid.tokens(), 2, 8);
    const at::Tensor want = at::empty_like(wide.q);
    reference::vmonarch_forward(problem, const_view(wide.q), const_view(wide.k), const_view(wide.v),
                                view(want));
    on_both_paths([&] {
      const auto run = [&](const Operands& o) {
        return vmonarch_attention(o.q, o.k, o.v, options, grid);
      };
      EXPECT_LT(error(run(wide), want), 1e-12) << split;
      EXPECT_LT(error(run(wide.to(at::kFloat)), want), 5e-6) << split;
    });
  }
  EXPECT_THROW(VMonarchOptions::from_json(Json{{"split", "fh,hw"}}), Error);
}

TEST(VMonarchAttention, MatchesReference) {
  const Grid grid{4, 2, 3};
  for (const bool recompute : {false, true}) {
    for (const int64_t frames_per_factor : {1, 2}) {
      const VMonarchOptions options{.num_iters = 2,
                                    .recompute_first_frame = recompute,
                                    .frames_per_factor = frames_per_factor};
      const attention::VMonarchProblem problem{.batch = 2,
                                               .num_heads = 2,
                                               .head_dim = 8,
                                               .frames = 4,
                                               .height = 2,
                                               .width = 3,
                                               .recompute_first_frame = recompute,
                                               .frames_per_factor = frames_per_factor};
      Operands wide = random_operands(2, grid.tokens(), grid.tokens(), 2, 8);
      const at::Tensor want = at::empty_like(wide.q);
      reference::vmonarch_forward(problem, const_view(wide.q), const_view(wide.k),
                                  const_view(wide.v), view(want));
      const auto run = [&](const Operands& o) {
        return vmonarch_attention(o.q, o.k, o.v, options, grid);
      };
      on_both_paths([&] {
        EXPECT_LT(error(run(wide), want), 1e-12);
        EXPECT_LT(error(run(wide.to(at::kFloat)), want), 5e-6);
        EXPECT_LT(error(run(wide.to(at::kBFloat16)), want), 2e-2);
      });

      const at::Tensor grad_out = normal(wide.q.sizes(), 4);
      const std::vector<at::Tensor> grads{at::empty_like(want), at::empty_like(want),
                                          at::empty_like(want)};
      reference::vmonarch_backward(problem, const_view(wide.q), const_view(wide.k),
                                   const_view(wide.v), const_view(grad_out), view(grads[0]),
                                   view(grads[1]), view(grads[2]));
      expect_gradients(wide, run, grad_out, grads);
    }
  }
}

TEST(AttentionErrors, SayWhatWouldDo) {
  const Operands o = random_operands(1, 60, 60, 1, 4);
  const Grid grid{2, 5, 6};
  EXPECT_EQ(message_of([&] { monarch_attention(o.q, o.k, o.v, tiling(1, 1, 1, 4), grid, grid); }),
            "[monarch_ops] token width 6 is not divisible by w_reduce 4; use 1, 2, 3 or 6");
  EXPECT_EQ(message_of([&] { monarch_attention(o.q, o.k, o.v, tiling(1, 3, 1, 1), grid, grid); }),
            "[monarch_ops] frame count 2 is not divisible by f_tied 3; use 1 or 2");
  EXPECT_EQ(message_of([&] {
              monarch_attention(o.q, o.k, o.v, tiling(1, 1, 1, 1), grid, {3, 5, 6});
            }),
            "[monarch_ops] monarch_attention needs 90 keys for the grid 3x5x6; got 60");
  EXPECT_EQ(message_of([&] {
              monarch_attention_block_causal(o.q, o.k, o.v, tiling(2, 1, 1, 1), grid, 30);
            }),
            "[monarch_ops] block-causal Monarch attention has one iteration; num_iters is 2");
  EXPECT_EQ(message_of([&] {
              monarch_attention_block_causal(o.q, o.k, o.v, tiling(1, 1, 1, 1), grid, 45);
            }),
            "[monarch_ops] block_causal_size 45 must be a multiple of the 30 tokens of a tile and "
            "divide the 60 tokens of the video");
  EXPECT_EQ(message_of([&] { dense_attention(o.q, o.k.slice(3, 0, 2), o.v.slice(3, 0, 2)); }),
            "[monarch_ops] dense_attention: q [1, 60, 1, 4] and k [1, 60, 1, 2] differ in batch, "
            "heads or head_dim");
  EXPECT_EQ(message_of([] {
              MonarchOptions::from_json(Json{{"f_teid", 2}});
            }),
            "[config] unknown key 'f_teid' in monarch_args; did you mean 'f_tied'?");
  EXPECT_EQ(message_of([] {
              MonarchOptions::from_json(Json{{"h_reduce", 0}});
            }),
            "[config] monarch_args.h_reduce must be at least 1, but is 0");
}

}  // namespace
}  // namespace monarch::ops
