// The CUDA Monarch backward on the emulated GPU against the reference.
//
// The gradients pass through a handful of roundings to 16 bits (weights of both softmaxes, a_L, Y
// and their gradients), each of relative size 2^-9 in bf16 and 2^-12 in f16; the bound is ten of
// them.
#include "monarch/attention/cuda/monarch_backward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "monarch/attention/cuda/monarch_forward.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "tests/attention/cuda/emulate.h"
#include "tests/attention/cuda/gradients.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

using cuda::DeviceLimits;

constexpr DeviceLimits kOneProcessor{1, 99 << 10};  // a head at a time

struct Case {
  MonarchProblem problem;
  DType dtype = DType::kF16;
  DeviceLimits limits = kOneProcessor;
  Padding padding = {};
};

// Forward and backward, with workspaces and results full of NaN.
Gradients run(const Case& c, const Operands& in, bool backwards = false) {
  BackwardRun run(in, c.dtype, c.padding);
  const cuda::MonarchForwardPlan forward(c.problem, {1, c.limits.shared_bytes_per_block});
  emulate(forward.args(in.q.view(), in.k.view(), in.v.view(), run.out.view(), run.lse_data(), {}),
          c.dtype);
  const cuda::MonarchBackwardPlan plan(c.problem, c.limits);
  std::vector<float> workspace(plan.workspace_bytes() / sizeof(float), std::nanf(""));
  for (const cuda::MonarchBackwardArgs& args :
       plan.launches(run.tensors(in), {workspace.data(), plan.workspace_bytes()})) {
    emulate(args, c.dtype, backwards);
  }
  return run.grad;
}

Operands operands(const Case& c) {
  const MonarchProblem& p = c.problem;
  return random_operands({p.batch, p.num_heads, p.head_dim, c.dtype}, p.q_tokens(), p.kv_tokens(),
                         c.dtype, c.padding);
}

void check(const Case& c) {
  const Operands in = operands(c);
  Gradients want(in, DType::kF64);
  reference::monarch_backward(c.problem, in.q.view(), in.k.view(), in.v.view(), in.grad_out.view(),
                              want.q.view(), want.k.view(), want.v.view());
  const BlockLayout layout = c.problem.layout();
  expect_near(run(c, in), want, 10, c.dtype,
              str_cat("blocks ", layout.block_rows(), " x ", layout.block_cols(), " head_dim ",
                      c.problem.head_dim));
}

TEST(CudaMonarchBackward, OddGridsAndHeadDims) {
  for (const std::int64_t width : {1, 7, 17, 66}) {
    check({{.head_dim = 16, .kv_frames = 2, .height = 3, .width = width}});
  }
  for (const std::int64_t height : {1, 8, 15, 33}) {
    check({{.head_dim = 16, .kv_frames = 2, .height = height, .width = 5}});
  }
  for (const std::int64_t head_dim : {8, 64, 96, 128}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      check(
          {{.num_heads = 2, .head_dim = head_dim, .kv_frames = 2, .height = 5, .width = 9}, dtype});
    }
  }
}

TEST(CudaMonarchBackward, TilingsBatchesMasksAndCaches) {
  MonarchProblem p{.batch = 2,
                   .num_heads = 2,
                   .head_dim = 16,
                   .q_frames = 2,
                   .kv_frames = 4,
                   .height = 4,
                   .width = 6,
                   .f_tied = 2,
                   .h_reduce = 2,
                   .w_reduce = 3};
  check({p});
  p.kv_block_order = true;
  check({p, DType::kBF16, {3, 227 << 10}});
  p.f_tied = 1;
  p.q_frames = 4;
  p.block_causal_size = 48;
  check({p});
  p.kv_block_order = false;
  check({p, DType::kF16, {7, 227 << 10}, {.head = 8, .token = 16, .start = 8}});
}

TEST(CudaMonarchBackward, TheSameBitsInAnyOrderOfBlocks) {
  const Case c{
      {.num_heads = 2, .head_dim = 32, .q_frames = 2, .kv_frames = 3, .height = 18, .width = 7}};
  const Operands in = operands(c);
  expect_same(run(c, in), run(c, in, true));
}

// As in the forward: three times the error of the plain formula in bf16.
TEST(CudaMonarchBackward, EveryFixtureOfOneStep) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!has_gradients(fixture)) continue;
    const Case c{monarch_problem(fixture), DType::kBF16};
    if (c.problem.num_iters != 1 || c.problem.head_dim % 8 != 0) continue;
    const bool cached = c.problem.kv_block_order;
    count += expect_fixture(fixture, cached, run(c, operands_of(fixture, cached, c.dtype)));
  }
  EXPECT_GE(count, 8);
}

TEST(CudaMonarchBackward, NamesWhatItNeeds) {
  const MonarchProblem p{.head_dim = 64, .height = 2, .width = 2};
  const cuda::MonarchBackwardPlan plan(p, kOneProcessor);
  Tensor x({1, 4, 1, 64}, DType::kBF16);
  const ConstTensorView in = read_only(x.view());
  cuda::MonarchBackwardTensors tensors{in, in, in, in, in, nullptr, x.view(), x.view(), x.view()};
  EXPECT_EQ(message_of([&] { plan.launches(tensors, {}); }),
            "[monarch_attention] the backward needs the forward's lse; pass one to its run()");
  float lse = 0;
  tensors.lse = &lse;
  EXPECT_EQ(message_of([&] { plan.launches(tensors, {}); }),
            "[monarch_attention] the workspace has 0 bytes; this plan needs 3088");
}

}  // namespace
}  // namespace monarch::attention::test
