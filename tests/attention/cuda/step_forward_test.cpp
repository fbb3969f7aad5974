// The CUDA forward of several iterations on the emulated GPU against the reference.
//
// Besides the output, a_L, a_R, Y and the weights of both softmaxes are rounded to 16 bits, a_R and
// a_L once more in every iteration: ten roundings bound two iterations.
#include "monarch/attention/cuda/step_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_forward.h"
#include "tests/attention/cuda/emulate.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

using cuda::DeviceLimits;

constexpr DeviceLimits kSm120{170, 99 << 10};

struct Case {
  cuda::StepProblem problem;
  DType dtype = DType::kF16;
  Padding padding = {};
  DeviceLimits limits = kSm120;
};

// With the log-sum-exp of the last softmax, if asked for.
Tensor run(const Case& c, const Tensor& q, const Tensor& k, const Tensor& v, bool backwards = false,
           float* lse = nullptr) {
  Tensor out(q.shape(), c.dtype, c.padding);
  out.fill(std::nan(""));
  const cuda::StepForwardPlan plan(c.problem, c.limits);
  std::vector<float> workspace(plan.workspace_bytes() / sizeof(float), std::nanf(""));
  for (const cuda::StepArgs& args : plan.launches(q.view(), k.view(), v.view(), out.view(), lse,
                                                  {workspace.data(), plan.workspace_bytes()})) {
    emulate(args, c.dtype, backwards);
  }
  return out;
}

struct Operands {
  Tensor q;
  Tensor k;
  Tensor v;
};
Operands random_operands(const Case& c) {
  const cuda::StepArgs shape = cuda::step_geometry(c.problem, c.limits);
  const cuda::Sizes sizes = cuda::step_sizes(c.problem, c.dtype);
  const auto tensor = [&](std::int64_t tokens, std::uint32_t seed) {
    return random_tensor({sizes.batch, tokens, sizes.num_heads, sizes.head_dim}, c.dtype, seed, 1,
                         c.padding);
  };
  return {tensor(shape.q_tokens, 1), tensor(shape.kv_tokens, 2), tensor(shape.kv_tokens, 3)};
}

void expect_near(const Case& c, const Tensor& got, const Tensor& want) {
  EXPECT_LE(relative_error(got, want),
            10 * (c.dtype == DType::kBF16 ? std::exp2(-9) : std::exp2(-12)))
      << dtype_name(c.dtype) << ' ' << worst_element(got, want);
}

void check(const VMonarchProblem& p, DType dtype = DType::kF16, Padding padding = {}) {
  SCOPED_TRACE(testing::Message() << p.frames << " x " << p.height << " x " << p.width
                                  << " head_dim " << p.head_dim << " iterations " << p.num_iters
                                  << " split " << int(p.split));
  const Case c{p, dtype, padding};
  const Operands in = random_operands(c);
  Tensor want(in.q.shape(), DType::kF64);
  reference::vmonarch_forward(p, in.q.view(), in.k.view(), in.v.view(), want.view());
  expect_near(c, run(c, in.q, in.k, in.v), want);
}

void check(const MonarchProblem& p, DType dtype = DType::kF16, DeviceLimits limits = kSm120) {
  SCOPED_TRACE(testing::Message() << "blocks " << p.layout().block_rows() << " x "
                                  << p.layout().block_cols() << " iterations " << p.num_iters);
  const Case c{p, dtype, {}, limits};
  const Operands in = random_operands(c);
  Tensor want(in.q.shape(), DType::kF64);
  reference::monarch_forward(p, in.q.view(), in.k.view(), in.v.view(), want.view());
  expect_near(c, run(c, in.q, in.k, in.v), want);
}

TEST(CudaStepForward, GridsHeadDimsAndIterations) {
  for (const std::int64_t frames : {1, 3, 8, 17}) {
    check(VMonarchProblem{.head_dim = 16, .frames = frames, .height = 3, .width = 5});
  }
  // More than a tile of queries.
  check(VMonarchProblem{.head_dim = 16, .frames = 2, .height = 11, .width = 13});
  for (const std::int64_t head_dim : {8, 64, 96, 128}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      check(
          VMonarchProblem{
              .num_heads = 2, .head_dim = head_dim, .frames = 3, .height = 4, .width = 5},
          dtype);
    }
  }
  for (const std::int64_t iterations : {1, 2, 3}) {
    check(VMonarchProblem{.batch = 2,
                          .head_dim = 24,
                          .frames = 4,
                          .height = 3,
                          .width = 5,
                          .num_iters = iterations,
                          .recompute_first_frame = iterations != 2},
          DType::kF16, {.head = 8, .token = 16, .start = 8});
  }
}

TEST(CudaStepForward, EverySplit) {
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    check(VMonarchProblem{.head_dim = 16, .frames = 3, .height = 4, .width = 5, .split = split});
  }
  check(VMonarchProblem{
      .head_dim = 16, .frames = 6, .height = 2, .width = 5, .frames_per_factor = 2});
}

// One position: every query attends to one key a factor row, so the second softmax is dense
// attention. One factor row: the first one is, and with c_R_min above 1 it is flattened.
TEST(CudaStepForward, ClampsAndSpecialCases) {
  check(VMonarchProblem{.head_dim = 16, .frames = 9, .height = 1, .width = 1, .num_iters = 1});
  check(VMonarchProblem{.head_dim = 16, .frames = 1, .height = 7, .width = 9, .c_r_min = 2});
  check(VMonarchProblem{
      .head_dim = 16, .frames = 4, .height = 3, .width = 5, .softmax_scale = 0.6, .c_r_min = 0.9});
}

// MonarchRT of several iterations: tilings, caches, query blocks of their own.
TEST(CudaStepForward, IterationsOfMonarchRt) {
  for (const std::int64_t iterations : {2, 3}) {
    check(MonarchProblem{.num_heads = 2,
                         .head_dim = 16,
                         .q_frames = 2,
                         .kv_frames = 3,
                         .height = 5,
                         .width = 7,
                         .num_iters = iterations});
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
  check(p);
  p.kv_block_order = true;
  check(p, DType::kBF16, {1, 99 << 10});  // a head at a time
}

// One position and one iteration: dense attention, whose log-sum-exp is known.
TEST(CudaStepForward, KeepsTheLogSumExp) {
  for (const bool recomputed : {false, true}) {
    const VMonarchProblem p{.num_heads = 2,
                            .head_dim = 16,
                            .frames = 9,
                            .height = 1,
                            .width = 1,
                            .num_iters = 1,
                            .recompute_first_frame = recomputed};
    const Case c{p};
    const Operands in = random_operands(c);
    std::vector<float> lse(18, std::nanf(""));
    run(c, in.q, in.k, in.v, false, lse.data());
    for (std::int64_t head = 0; head < 2; ++head) {
      for (std::int64_t i = 0; i < 9; ++i) {
        double sum = 0;
        for (std::int64_t k = 0; k < 9; ++k) {
          double product = 0;
          for (std::int64_t d = 0; d < 16; ++d) {
            product += in.q.get((i * 2 + head) * 16 + d) * in.k.get((k * 2 + head) * 16 + d);
          }
          sum += std::exp(p.scale() * product);
        }
        EXPECT_NEAR(lse[static_cast<std::size_t>(head * 9 + i)], std::log(sum), 1e-4);
      }
    }
  }
}

TEST(CudaStepForward, OrderOfBlocksDoesNotMatter) {
  const Case c{
      VMonarchProblem{.num_heads = 2, .head_dim = 32, .frames = 3, .height = 6, .width = 7}};
  const Operands in = random_operands(c);
  EXPECT_EQ(run(c, in.q, in.k, in.v).values(), run(c, in.q, in.k, in.v, true).values());
}

TEST(CudaStepForward, NaNSpreads) {
  const Case c{VMonarchProblem{.head_dim = 16, .frames = 2, .height = 3, .width = 5}};
  Operands in = random_operands(c);
  in.k.set(17, std::nan(""));
  const Tensor out = run(c, in.q, in.k, in.v);
  for (std::int64_t index = 0; index < out.size(); ++index) {
    ASSERT_FALSE(std::isfinite(out.get(index))) << index;
  }
}

// Three times the error of the plain formula in bf16, as for the other operators; where the fixture
// does not record it, twenty roundings.
TEST(CudaStepForward, EveryFixture) {
  int vmonarch = 0;
  int monarch = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    Case c;
    c.dtype = DType::kBF16;
    bool cached = false;
    if (fixture.op == "vmonarch_attention") {
      c.problem = vmonarch_problem(fixture);
    } else if (fixture.op.starts_with("monarch_attention")) {
      const MonarchProblem p = monarch_problem(fixture);
      if (p.num_iters == 1) continue;
      cached = p.kv_block_order;
      c.problem = p;
    } else {
      continue;
    }
    const auto narrow = [&](const std::string& name) {
      const Tensor& wide = fixture.tensors.at(name);
      Tensor result(wide.shape(), c.dtype);
      result.assign(wide.values());
      return result;
    };
    const double observed = std::isfinite(fixture.observed_bf16) ? fixture.observed_bf16 : 0;
    if (observed >= 0.05) continue;
    const Tensor got = run(c, narrow("input.q"), narrow(cached ? "expect.k_cache" : "input.k"),
                           narrow(cached ? "expect.v_cache" : "input.v"));
    EXPECT_LE(relative_error(got, fixture.tensors.at("expect.out"), fixture.rms_floor),
              std::max(3 * observed, 20 * std::exp2(-9)))
        << fixture.name;
    ++(std::holds_alternative<VMonarchProblem>(c.problem) ? vmonarch : monarch);
  }
  EXPECT_GE(vmonarch, 2);
  EXPECT_GE(monarch, 1);
}

TEST(CudaStepForward, NamesWhatItCannotDo) {
  VMonarchProblem p{.head_dim = 100, .frames = 2, .height = 2, .width = 2};
  EXPECT_EQ(message_of([&] { cuda::StepForwardPlan(p, kSm120); }),
            "[monarch_attention] head_dim is 100; the CUDA kernels take multiples of 8 up to 128");
  p.head_dim = 128;
  EXPECT_EQ(message_of([&] {
              cuda::StepForwardPlan(p, {1, 48 << 10});
            }),
            "[monarch_attention] head_dim 128 needs 69632 bytes of shared memory; this device has "
            "49152 a thread block");
  const cuda::StepForwardPlan plan(p, kSm120);
  Tensor x({1, 8, 1, 128}, DType::kBF16);
  const ConstTensorView in = read_only(x.view());
  EXPECT_EQ(message_of([&] { plan.launches(in, in, in, x.view(), nullptr, {}); }),
            "[monarch_attention] the workspace has 0 bytes; this plan needs 4160");
}

}  // namespace
}  // namespace monarch::attention::test
