// The CUDA Monarch forward on the emulated GPU against the reference.
#include "monarch/attention/cuda/monarch_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "monarch/attention/reference/monarch_forward.h"
#include "tests/attention/cuda/emulate.h"
#include "tests/attention/cuda/monarch_case.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

using cuda::DeviceLimits;
using cuda::MonarchForwardArgs;

constexpr DeviceLimits kSm90{132, 227 << 10};
constexpr DeviceLimits kSm120{170, 99 << 10};
constexpr DeviceLimits kOneProcessor{1, 99 << 10};  // never splits

using Case = MonarchCase<kOneProcessor>;

Tensor run(const Case& c, const Tensor& q, const Tensor& k, const Tensor& v, float* lse = nullptr,
           bool backwards = false) {
  Tensor out(q.shape(), c.dtype, c.padding);
  out.fill(std::nan(""));
  const cuda::MonarchForwardPlan plan(c.problem, c.limits);
  std::vector<float> workspace(plan.workspace_bytes() / sizeof(float), std::nanf(""));
  emulate(plan.args(q.view(), k.view(), v.view(), out.view(), lse,
                    {workspace.data(), plan.workspace_bytes()}),
          c.dtype, backwards);
  return out;
}

void check(const Case& c) {
  const MonarchInputs in = random_inputs(c);
  expect_reference(c, in, run(c, in.q, in.k, in.v));
}

TEST(CudaMonarchForward, OddGridsAndHeadDims) {
  for (const std::int64_t width : {1, 2, 7, 8, 9, 16, 17, 25, 52}) {
    check({{.head_dim = 16, .kv_frames = 2, .height = 3, .width = width}});
  }
  for (const std::int64_t height : {1, 2, 8, 15, 16, 17, 33}) {
    check({{.head_dim = 16, .kv_frames = 2, .height = height, .width = 5}});
  }
  for (const std::int64_t head_dim : {8, 64, 72, 96, 104, 128}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      check(
          {{.num_heads = 2, .head_dim = head_dim, .kv_frames = 2, .height = 5, .width = 9}, dtype});
      check({{.head_dim = head_dim, .height = 18, .width = 3}, dtype});
    }
  }
}

TEST(CudaMonarchForward, TilingsBatchesMasksAndCaches) {
  for (const std::int64_t f_tied : {1, 2}) {
    for (const std::int64_t h_reduce : {1, 2}) {
      for (const std::int64_t w_reduce : {1, 3}) {
        MonarchProblem p{.batch = 2,
                         .num_heads = 2,
                         .head_dim = 16,
                         .q_frames = 2,
                         .kv_frames = 4,
                         .height = 4,
                         .width = 6,
                         .f_tied = f_tied,
                         .h_reduce = h_reduce,
                         .w_reduce = w_reduce};
        check({p});
        p.kv_block_order = true;
        check({p, DType::kF16});
        p.batch = 1;
        p.q_frames = 4;
        p.block_causal_size = 2 * 24;
        check({p, DType::kF16, 1, kSm120});
        p.kv_block_order = false;
        check({p});
      }
    }
  }
}

TEST(CudaMonarchForward, EveryPipelineDepth) {
  const MonarchProblem p{.head_dim = 128, .q_frames = 1, .kv_frames = 3, .height = 6, .width = 17};
  std::vector<int> seen;
  for (const int kilobytes : {104, 118, 132, 164, 227}) {
    const Case c{p, DType::kBF16, 1, {1, kilobytes << 10}};
    const MonarchInputs in = random_inputs(c);
    Tensor out(in.q.shape(), c.dtype);
    const MonarchForwardArgs args =
        cuda::MonarchForwardPlan(p, c.limits)
            .args(in.q.view(), in.k.view(), in.v.view(), out.view(), nullptr, {});
    seen.push_back(10 * args.step_rows + args.stages);
    check(c);
  }
  std::ranges::sort(seen);
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  EXPECT_EQ(seen, (std::vector<int>{12, 13, 14, 23, 24}));
}

// What the benchmark's shapes get of a device; what each piece of shared memory costs is in
// tiles.h.
TEST(CudaMonarchForward, TilesOfTheBenchmarkShapes) {
  struct Want {
    DeviceLimits limits;
    std::int64_t h_reduce;
    int step_rows;
    int stages;
    std::uint32_t shared_bytes;
  };
  constexpr DeviceLimits kSm80{108, 163 << 10};
  for (const Want& want : {Want{kSm80, 1, 2, 3, 144320}, Want{kSm90, 1, 2, 4, 176960},
                           Want{kSm120, 1, 1, 3, 89824}, Want{kSm90, 2, 1, 4, 106144}}) {
    const MonarchProblem p{.num_heads = 12,
                           .head_dim = 128,
                           .q_frames = 3,
                           .kv_frames = 21,
                           .height = 30,
                           .width = 52,
                           .h_reduce = want.h_reduce};
    Tensor x({1, p.q_tokens(), 12, 128}, DType::kBF16);
    Tensor kv({1, p.kv_tokens(), 12, 128}, DType::kBF16);
    const cuda::MonarchForwardPlan plan(p, want.limits);
    std::vector<float> workspace(plan.workspace_bytes() / sizeof(float));
    const MonarchForwardArgs args =
        plan.args(read_only(x.view()), read_only(kv.view()), read_only(kv.view()), x.view(),
                  nullptr, {workspace.data(), plan.workspace_bytes()});
    EXPECT_EQ(args.step_rows, want.step_rows);
    EXPECT_EQ(args.stages, want.stages);
    EXPECT_EQ(args.shared.bytes, want.shared_bytes);
    EXPECT_EQ(args.row_fragments, want.h_reduce == 1 ? 2 : 1);
  }
}

TEST(CudaMonarchForward, StridedViews) {
  const MonarchProblem p{.batch = 2,
                         .num_heads = 2,
                         .head_dim = 24,
                         .q_frames = 2,
                         .kv_frames = 2,
                         .height = 5,
                         .width = 7};
  check({p, DType::kBF16, 1, kOneProcessor, {.head = 8, .token = 16, .start = 8}});
}

TEST(CudaMonarchForward, SharpAndFlatScores) {
  const MonarchProblem p{.head_dim = 32, .q_frames = 2, .kv_frames = 3, .height = 6, .width = 9};
  for (const double factor : {0.0, 8.0}) check({p, DType::kF16, factor});
}

TEST(CudaMonarchForward, ConstantValuesComeBack) {
  const Case c{{.head_dim = 16, .kv_frames = 3, .height = 9, .width = 11}, DType::kBF16, 3};
  const MonarchInputs in = random_inputs(c);
  Tensor v(in.v.shape(), c.dtype);
  v.fill(1.375);
  const Tensor out = run(c, in.q, in.k, v);
  for (std::int64_t index = 0; index < out.size(); ++index)
    EXPECT_NEAR(out.get(index), 1.375, 0.008);
}

TEST(CudaMonarchForward, SplitsAgreeAndOrderOfBlocksDoesNotMatter) {
  const MonarchProblem p{
      .num_heads = 2, .head_dim = 64, .q_frames = 1, .kv_frames = 7, .height = 10, .width = 6};
  const Case whole{p, DType::kF16};
  Case split = whole;
  split.limits = kSm90;
  EXPECT_GT(cuda::MonarchForwardPlan(p, kSm90).num_splits(), 2);
  EXPECT_EQ(cuda::MonarchForwardPlan(p, kOneProcessor).num_splits(), 1);
  const MonarchInputs in = random_inputs(whole);
  Tensor one({1, 2, p.q_tokens()}, DType::kF32);
  Tensor several({1, 2, p.q_tokens()}, DType::kF32);
  const Tensor first = run(whole, in.q, in.k, in.v, static_cast<float*>(one.view().data));
  const Tensor second = run(split, in.q, in.k, in.v, static_cast<float*>(several.view().data));
  EXPECT_LE(relative_error(second, first), 1e-3);
  EXPECT_LE(relative_error(several, one), 1e-6);
  EXPECT_EQ(run(split, in.q, in.k, in.v, nullptr, true).values(), second.values());
  check(split);
}

TEST(CudaMonarchForward, LogSumExpMatchesTheReference) {
  const MonarchProblem p{.num_heads = 2,
                         .head_dim = 24,
                         .q_frames = 2,
                         .kv_frames = 4,
                         .height = 6,
                         .width = 9,
                         .f_tied = 2,
                         .w_reduce = 3,
                         .softmax_scale = 0.5};
  const Case c{p, DType::kF16};
  const MonarchInputs in = random_inputs(c);
  Tensor want({1, 2, p.q_tokens()}, DType::kF64);
  Tensor out(in.q.shape(), DType::kF64);
  const BlockLayout layout = p.layout();
  reference::monarch_forward(
      p, in.q.view(), in.k.view(), in.v.view(), out.view(),
      [&](std::int64_t, std::int64_t head, std::int64_t a, const reference::StepShape& shape,
          const auto& steps, const reference::Matrix&) {
        for (std::int64_t i = 0; i < shape.block_rows; ++i) {
          for (std::int64_t j = 0; j < shape.block_cols; ++j) {
            const std::int64_t token =
                layout.token_of_position((a * shape.block_rows + i) * shape.block_cols + j);
            double score = -steps[0].c_l[shape.fjk(0, j, 0)][0];
            for (std::int64_t d = 0; d < p.head_dim; ++d) {
              score += std::sqrt(p.scale()) * in.q.get((token * 2 + head) * p.head_dim + d) *
                       steps[0].a_l[shape.fjk(0, j, 0)][d];
            }
            want.set(head * p.q_tokens() + token,
                     score - std::log(steps[0].l[shape.fjk(0, j, 0)][i]));
          }
        }
      });
  Tensor got(want.shape(), DType::kF32);
  run(c, in.q, in.k, in.v, static_cast<float*>(got.view().data));
  EXPECT_LE(relative_error(got, want), 1e-4) << worst_element(got, want);
}

TEST(CudaMonarchForward, NaNSpreads) {
  const Case c{{.head_dim = 16, .q_frames = 2, .kv_frames = 2, .height = 3, .width = 5}};
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    MonarchInputs in = random_inputs(c);
    in.k.set(17, bad);
    const Tensor out = run(c, in.q, in.k, in.v);
    for (std::int64_t index = 0; index < out.size(); ++index) {
      ASSERT_FALSE(std::isfinite(out.get(index))) << index << ' ' << bad;
    }
  }
}

// As the fixtures' description says: three times the error of the plain formula in bf16, where that
// is meaningful at all.
TEST(CudaMonarchForward, EveryFixtureOfOneStep) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("monarch_attention")) continue;
    const Case c{monarch_problem(fixture)};
    if (c.problem.num_iters != 1 || c.problem.head_dim % 8 != 0) continue;
    if (!(fixture.observed_bf16 < 0.05)) continue;
    const auto narrow = [&](const std::string& name) {
      const Tensor& wide = fixture.tensors.at(name);
      Tensor result(wide.shape(), c.dtype);
      result.assign(wide.values());
      return result;
    };
    const std::string from = c.problem.kv_block_order ? "expect.k_cache" : "input.k";
    const std::string values = c.problem.kv_block_order ? "expect.v_cache" : "input.v";
    const Tensor got = run(c, narrow("input.q"), narrow(from), narrow(values));
    const Tensor& want = fixture.tensors.at("expect.out");
    EXPECT_LE(relative_error(got, want, fixture.rms_floor),
              std::max(3 * fixture.observed_bf16, 0.015))
        << fixture.name << ' ' << worst_element(got, want);
    ++count;
  }
  EXPECT_GE(count, 4);
}

TEST(CudaMonarchForward, NamesWhatItCannotDo) {
  MonarchProblem p{.head_dim = 136, .height = 2, .width = 2};
  const auto plan_error = [&] { return message_of([&] { cuda::MonarchForwardPlan(p, kSm120); }); };
  EXPECT_EQ(plan_error(),
            "[monarch_attention] head_dim is 136; the CUDA kernels take multiples of 8 up to 128");
  p.head_dim = 128;
  p.num_iters = 2;
  EXPECT_EQ(plan_error(),
            "[monarch_attention] the fused CUDA kernel does one refinement step; got num_iters 2");
  p.num_iters = 1;
  p.width = 200;
  EXPECT_EQ(
      plan_error(),
      "[monarch_attention] blocks of 200 columns with head_dim 128 need 165536 bytes of shared "
      "memory; this device has 101376 a thread block. Use a larger w_reduce");
  p.width = 2;
  const cuda::MonarchForwardPlan plan(p, kOneProcessor);
  Tensor x({1, 4, 1, 128}, DType::kBF16);
  Tensor wide({1, 4, 1, 128}, DType::kF32);
  Tensor shifted({1, 4, 1, 128}, DType::kBF16, {.start = 1});
  Tensor ragged({1, 4, 1, 128}, DType::kBF16, {.token = 4});
  Tensor other({1, 4, 1, 128}, DType::kF16);
  const auto with_k = [&](Tensor& k) {
    return message_of([&] {
      plan.args(read_only(x.view()), read_only(k.view()), read_only(x.view()), x.view(), nullptr,
                {});
    });
  };
  EXPECT_EQ(with_k(wide), "[monarch_attention] k has dtype F32; the CUDA kernels take BF16 or F16");
  EXPECT_EQ(with_k(other),
            "[monarch_attention] k has dtype F16 while q has BF16; the CUDA kernels take one dtype "
            "for all");
  EXPECT_EQ(with_k(shifted),
            "[monarch_attention] k begins 2 bytes past a multiple of 16; the CUDA kernels copy 16 "
            "bytes at a time");
  EXPECT_EQ(with_k(ragged),
            "[monarch_attention] k has strides [528, 132, 128, 1]; the CUDA kernels need multiples "
            "of 8 elements: make it contiguous");
  MonarchProblem small_q{.head_dim = 64, .kv_frames = 16, .height = 16, .width = 4};
  const cuda::MonarchForwardPlan splitting(small_q, kSm90);
  Tensor q({1, 64, 1, 64}, DType::kBF16);
  Tensor kv({1, 1024, 1, 64}, DType::kBF16);
  EXPECT_TRUE(message_of([&] {
                splitting.args(read_only(q.view()), read_only(kv.view()), read_only(kv.view()),
                               q.view(), nullptr, {});
              }).starts_with("[monarch_attention] the workspace has 0 bytes; this plan needs "));
}

}  // namespace
}  // namespace monarch::attention::test
