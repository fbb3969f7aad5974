// The CUDA backward of several iterations on the emulated GPU against the reference.
//
// Every iteration rounds both softmaxes' weights, a_L, a_R, Y and the gradients of all of them to
// 16 bits, in bf16 by 2^-9 of their size, in f16 by 2^-12; the bound is ten such roundings an
// iteration.
#include "monarch/attention/cuda/step_backward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "monarch/attention/cuda/step_forward.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/vmonarch_backward.h"
#include "tests/attention/cuda/emulate.h"
#include "tests/attention/cuda/gradients.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

using cuda::DeviceLimits;

constexpr DeviceLimits kSm120{170, 99 << 10};
constexpr DeviceLimits kOneProcessor{1, 99 << 10};

struct Case {
  cuda::StepProblem problem;
  DType dtype = DType::kF16;
  DeviceLimits limits = kSm120;
  Padding padding = {};
};

// Forward and backward, with workspaces and results full of NaN.
Gradients run(const Case& c, const Operands& in, bool backwards = false) {
  BackwardRun run(in, c.dtype, c.padding);
  const cuda::StepForwardPlan forward(c.problem, c.limits);
  const cuda::StepBackwardPlan backward(c.problem, c.limits);
  std::vector<float> workspace(
      std::max(forward.workspace_bytes(), backward.workspace_bytes()) / sizeof(float),
      std::nanf(""));
  for (const cuda::StepArgs& args :
       forward.launches(in.q.view(), in.k.view(), in.v.view(), run.out.view(), run.lse_data(),
                        {workspace.data(), forward.workspace_bytes()})) {
    emulate(args, c.dtype);
  }
  std::ranges::fill(workspace, std::nanf(""));
  for (const cuda::StepGradientArgs& args :
       backward.launches(run.tensors(in), {workspace.data(), backward.workspace_bytes()})) {
    emulate(args, c.dtype, backwards);
  }
  return run.grad;
}

Operands operands(const Case& c) {
  const cuda::StepArgs shape = cuda::step_geometry(c.problem, c.limits);
  return random_operands(cuda::step_sizes(c.problem, c.dtype), shape.q_tokens, shape.kv_tokens,
                         c.dtype, c.padding);
}

void check(const Case& c, const std::string& what = "") {
  const Operands in = operands(c);
  Gradients want(in, DType::kF64);
  std::int64_t iterations = 1;
  if (const auto* p = std::get_if<VMonarchProblem>(&c.problem)) {
    iterations = p->num_iters;
    reference::vmonarch_backward(*p, in.q.view(), in.k.view(), in.v.view(), in.grad_out.view(),
                                 want.q.view(), want.k.view(), want.v.view());
  } else {
    const auto& monarch = std::get<MonarchProblem>(c.problem);
    iterations = monarch.num_iters;
    reference::monarch_backward(monarch, in.q.view(), in.k.view(), in.v.view(), in.grad_out.view(),
                                want.q.view(), want.k.view(), want.v.view());
  }
  expect_near(run(c, in), want, 10 * double(iterations), c.dtype, what);
}

TEST(CudaStepBackward, VMonarchGridsHeadDimsAndIterations) {
  for (const std::int64_t frames : {1, 3, 17}) {
    check({VMonarchProblem{.head_dim = 16, .frames = frames, .height = 3, .width = 5}}, "frames");
  }
  // More than a tile of queries and of keys.
  check({VMonarchProblem{.head_dim = 16, .frames = 2, .height = 11, .width = 13}}, "tiles");
  for (const std::int64_t head_dim : {8, 64, 96, 128}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      check({VMonarchProblem{
                 .num_heads = 2, .head_dim = head_dim, .frames = 3, .height = 4, .width = 5},
             dtype},
            "head_dim " + std::to_string(head_dim));
    }
  }
  for (const std::int64_t iterations : {1, 2, 3}) {
    check({VMonarchProblem{.batch = 2,
                           .head_dim = 24,
                           .frames = 4,
                           .height = 3,
                           .width = 5,
                           .num_iters = iterations,
                           .recompute_first_frame = iterations != 2},
           DType::kF16,
           kOneProcessor,
           {.head = 8, .token = 16, .start = 8}},
          "iterations " + std::to_string(iterations));
  }
}

TEST(CudaStepBackward, EverySplit) {
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    check({VMonarchProblem{.head_dim = 16, .frames = 3, .height = 4, .width = 5, .split = split}},
          "split " + std::to_string(int(split)));
  }
}

// A bound above every c_R stops its gradient; one position makes the second softmax dense
// attention.
TEST(CudaStepBackward, ClampsAndSpecialCases) {
  check({VMonarchProblem{.head_dim = 16, .frames = 4, .height = 3, .width = 5, .c_r_min = 0.9}},
        "clamp");
  check({VMonarchProblem{.head_dim = 16, .frames = 9, .height = 1, .width = 1, .num_iters = 1}},
        "one position");
}

TEST(CudaStepBackward, IterationsOfMonarchRt) {
  for (const std::int64_t iterations : {2, 3}) {
    check({MonarchProblem{.num_heads = 2,
                          .head_dim = 16,
                          .q_frames = 2,
                          .kv_frames = 3,
                          .height = 5,
                          .width = 7,
                          .num_iters = iterations}},
          "iterations " + std::to_string(iterations));
  }
  MonarchProblem p{.head_dim = 24,
                   .q_frames = 2,
                   .kv_frames = 4,
                   .height = 4,
                   .width = 6,
                   .f_tied = 2,
                   .h_reduce = 2,
                   .w_reduce = 2,
                   .num_iters = 2};
  check({p}, "tiling");
  p.kv_block_order = true;
  check({p, DType::kBF16, kOneProcessor}, "cache");
}

TEST(CudaStepBackward, TheSameBitsInAnyOrderOfBlocks) {
  for (const cuda::StepProblem& problem :
       {cuda::StepProblem(
            VMonarchProblem{.num_heads = 2, .head_dim = 32, .frames = 3, .height = 3, .width = 6}),
        cuda::StepProblem(MonarchProblem{.head_dim = 32,
        .q_frames = 2,
        .kv_frames = 2,
        .height = 3,
        .width = 6,
        .num_iters = 2})}) {
    const Case c{problem};
    const Operands in = operands(c);
    expect_same(run(c, in), run(c, in, true));
  }
}

// The fixtures of several iterations that have gradients, where bf16 means something.
TEST(CudaStepBackward, EveryFixture) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!has_gradients(fixture)) continue;
    const MonarchProblem p = monarch_problem(fixture);
    if (p.num_iters == 1) continue;
    const Case c{p, DType::kBF16};
    const bool cached = p.kv_block_order;
    count += expect_fixture(fixture, cached, run(c, operands_of(fixture, cached, c.dtype)));
  }
  EXPECT_GE(count, 3);
}

TEST(CudaStepBackward, NamesWhatItNeeds) {
  VMonarchProblem p{.head_dim = 64, .frames = 2, .height = 2, .width = 2};
  EXPECT_EQ(message_of([&] {
              cuda::StepBackwardPlan(p, {1, 16 << 10});
            }),
            "[monarch_attention] head_dim 64 needs 36864 bytes of shared memory; this device has "
            "16384 a thread block");
  const cuda::StepBackwardPlan plan(p, kOneProcessor);
  Tensor x({1, 8, 1, 64}, DType::kBF16);
  const ConstTensorView in = read_only(x.view());
  cuda::MonarchBackwardTensors tensors{in, in, in, in, in, nullptr, x.view(), x.view(), x.view()};
  EXPECT_EQ(message_of([&] { plan.launches(tensors, {}); }),
            "[monarch_attention] the backward needs the forward's lse; pass one to its run()");
  float lse = 0;
  tensors.lse = &lse;
  EXPECT_EQ(message_of([&] { plan.launches(tensors, {}); }),
            str_cat("[monarch_attention] the workspace has 0 bytes; this plan needs ",
                    plan.workspace_bytes()));
  p.recompute_first_frame = false;  // nothing of the forward is looked at
  tensors.lse = nullptr;
  std::vector<float> workspace(plan.workspace_bytes() / sizeof(float));
  EXPECT_EQ(cuda::StepBackwardPlan(p, kOneProcessor)
                .launches(tensors, {workspace.data(), plan.workspace_bytes()})
                .size(),
            1);
}

}  // namespace
}  // namespace monarch::attention::test
