// The CUDA VMonarch forward on the emulated GPU against the reference.
//
// Besides the output, a_L, a_R, Y and the weights of both softmaxes are rounded to 16 bits, a_R and
// a_L once more in every iteration: ten roundings bound two iterations.
#include "monarch/attention/cuda/vmonarch_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

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
  VMonarchProblem problem;
  DType dtype = DType::kF16;
  Padding padding = {};
};

Tensor run(const Case& c, const Tensor& q, const Tensor& k, const Tensor& v,
           bool backwards = false) {
  Tensor out(q.shape(), c.dtype, c.padding);
  out.fill(std::nan(""));
  const cuda::VMonarchForwardPlan plan(c.problem, kSm120);
  std::vector<float> workspace(plan.workspace_bytes() / sizeof(float), std::nanf(""));
  emulate(plan.args(q.view(), k.view(), v.view(), out.view(),
                    {workspace.data(), plan.workspace_bytes()}),
          c.dtype, backwards);
  return out;
}

Tensor input(const Case& c, std::uint32_t seed) {
  const VMonarchProblem& p = c.problem;
  return random_tensor({p.batch, p.num_tokens(), p.num_heads, p.head_dim}, c.dtype, seed, 1,
                       c.padding);
}

void check(const Case& c) {
  const Tensor q = input(c, 1);
  const Tensor k = input(c, 2);
  const Tensor v = input(c, 3);
  Tensor want(q.shape(), DType::kF64);
  reference::vmonarch_forward(c.problem, q.view(), k.view(), v.view(), want.view());
  const Tensor got = run(c, q, k, v);
  EXPECT_LE(relative_error(got, want),
            10 * (c.dtype == DType::kBF16 ? std::exp2(-9) : std::exp2(-12)))
      << dtype_name(c.dtype) << ' ' << c.problem.frames << " x " << c.problem.height << " x "
      << c.problem.width << " head_dim " << c.problem.head_dim << " iterations "
      << c.problem.num_iters << " split " << int(c.problem.split) << ' '
      << worst_element(got, want);
}

TEST(CudaVMonarchForward, GridsHeadDimsAndIterations) {
  for (const std::int64_t frames : {1, 3, 8, 17}) {
    check({{.head_dim = 16, .frames = frames, .height = 3, .width = 5}});
  }
  check({{.head_dim = 16, .frames = 2, .height = 11, .width = 13}});  // more than a tile of queries
  for (const std::int64_t head_dim : {8, 64, 96, 128}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      check({{.num_heads = 2, .head_dim = head_dim, .frames = 3, .height = 4, .width = 5}, dtype});
    }
  }
  for (const std::int64_t iterations : {1, 2, 3}) {
    check({{.batch = 2,
            .head_dim = 24,
            .frames = 4,
            .height = 3,
            .width = 5,
            .num_iters = iterations,
            .recompute_first_frame = iterations != 2},
           DType::kF16,
           {.head = 8, .token = 16, .start = 8}});
  }
}

TEST(CudaVMonarchForward, EverySplit) {
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    check({{.head_dim = 16, .frames = 3, .height = 4, .width = 5, .split = split}});
  }
  check({{.head_dim = 16, .frames = 6, .height = 2, .width = 5, .frames_per_factor = 2}});
}

// One position: every query attends to one key a factor row, so the second softmax is dense
// attention. One factor row: the first one is, and with c_R_min above 1 it is flattened.
TEST(CudaVMonarchForward, ClampsAndSpecialCases) {
  check({{.head_dim = 16, .frames = 9, .height = 1, .width = 1, .num_iters = 1}});
  check({{.head_dim = 16, .frames = 1, .height = 7, .width = 9, .c_r_min = 2}});
  check({{.head_dim = 16,
          .frames = 4,
          .height = 3,
          .width = 5,
          .softmax_scale = 0.6,
          .c_r_min = 0.9}});
}

TEST(CudaVMonarchForward, OrderOfBlocksDoesNotMatter) {
  const Case c{{.num_heads = 2, .head_dim = 32, .frames = 3, .height = 6, .width = 7}};
  const Tensor q = input(c, 1);
  const Tensor k = input(c, 2);
  const Tensor v = input(c, 3);
  EXPECT_EQ(run(c, q, k, v).values(), run(c, q, k, v, true).values());
}

TEST(CudaVMonarchForward, NaNSpreads) {
  const Case c{{.head_dim = 16, .frames = 2, .height = 3, .width = 5}};
  Tensor k = input(c, 2);
  k.set(17, std::nan(""));
  const Tensor out = run(c, input(c, 1), k, input(c, 3));
  for (std::int64_t index = 0; index < out.size(); ++index) {
    ASSERT_FALSE(std::isfinite(out.get(index))) << index;
  }
}

// Three times the error of the plain formula in bf16, as for the other operators; where the fixture
// does not record it, twenty roundings.
TEST(CudaVMonarchForward, EveryFixture) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (fixture.op != "vmonarch_attention") continue;
    const Case c{vmonarch_problem(fixture), DType::kBF16};
    const auto narrow = [&](const std::string& name) {
      const Tensor& wide = fixture.tensors.at(name);
      Tensor result(wide.shape(), c.dtype);
      result.assign(wide.values());
      return result;
    };
    const double observed = std::isfinite(fixture.observed_bf16) ? fixture.observed_bf16 : 0;
    if (observed >= 0.05) continue;
    const Tensor got = run(c, narrow("input.q"), narrow("input.k"), narrow("input.v"));
    EXPECT_LE(relative_error(got, fixture.tensors.at("expect.out"), fixture.rms_floor),
              std::max(3 * observed, 20 * std::exp2(-9)))
        << fixture.name;
    ++count;
  }
  EXPECT_GE(count, 2);
}

TEST(CudaVMonarchForward, NamesWhatItCannotDo) {
  VMonarchProblem p{.head_dim = 100, .frames = 2, .height = 2, .width = 2};
  EXPECT_EQ(message_of([&] { cuda::VMonarchForwardPlan(p, kSm120); }),
            "[monarch_attention] head_dim is 100; the CUDA kernels take multiples of 8 up to 128");
  p.head_dim = 128;
  EXPECT_EQ(message_of([&] {
              cuda::VMonarchForwardPlan(p, {1, 48 << 10});
            }),
            "[monarch_attention] head_dim 128 needs 69632 bytes of shared memory; this device has "
            "49152 a thread block");
  const cuda::VMonarchForwardPlan plan(p, kSm120);
  Tensor x({1, 8, 1, 128}, DType::kBF16);
  const ConstTensorView in = read_only(x.view());
  EXPECT_EQ(message_of([&] { plan.args(in, in, in, x.view(), {}); }),
            "[monarch_attention] the workspace has 0 bytes; this plan needs 4160");
}

}  // namespace
}  // namespace monarch::attention::test
