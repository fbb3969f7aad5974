// The kernels that multiply bf16 (AVX512-BF16 and AMX) against the reference.
//
// How far they may be off is measured, not chosen: bf16 operands stand for numbers that were
// rounded to them, and that rounding alone moves the exact result by some distance. The kernels
// round a few intermediates the same way, so they must stay within that distance of the exact
// result for the operands as they are. (Results are compared in float, before their own rounding.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "monarch/attention/cpu/dense_forward.h"
#include "monarch/attention/cpu/monarch_forward.h"
#include "monarch/attention/cpu/vmonarch_forward.h"
#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_forward.h"
#include "monarch/attention/registry.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

struct Tokens {
  std::int64_t q;
  std::int64_t kv;
};
Tokens tokens_of(const DenseProblem& p) { return {p.q_tokens, p.kv_tokens}; }
Tokens tokens_of(const MonarchProblem& p) { return {p.q_tokens(), p.kv_tokens()}; }
Tokens tokens_of(const VMonarchProblem& p) { return {p.num_tokens(), p.num_tokens()}; }

void exact(const DenseProblem& p, const Tensor& q, const Tensor& k, const Tensor& v, Tensor& out) {
  reference::dense_forward(p, q.view(), k.view(), v.view(), out.view());
}
void exact(const MonarchProblem& p, const Tensor& q, const Tensor& k, const Tensor& v,
           Tensor& out) {
  reference::monarch_forward(p, q.view(), k.view(), v.view(), out.view());
}
void exact(const VMonarchProblem& p, const Tensor& q, const Tensor& k, const Tensor& v,
           Tensor& out) {
  reference::vmonarch_forward(p, q.view(), k.view(), v.view(), out.view());
}

template <typename Plan>
Tensor run_plan(const Plan& plan, const Tensor& q, const Tensor& k, const Tensor& v, Tensor out,
                float* lse) {
  out.fill(std::nan(""));
  // NaN: nothing is read before it is written.
  std::vector<std::byte> workspace(plan.workspace_bytes(), std::byte{0xff});
  plan.run(q.view(), k.view(), v.view(), out.view(), lse, workspace);
  return out;
}

cpu::DenseForwardPlan plan(const DenseProblem& p, int threads, cpu::Isa isa) {
  return {p, threads, isa};
}
cpu::MonarchForwardPlan plan(const MonarchProblem& p, int threads, cpu::Isa isa) {
  return {p, threads, isa};
}
cpu::VMonarchForwardPlan plan(const VMonarchProblem& p, int threads, cpu::Isa isa) {
  return {p, threads, isa};
}

std::string describe(const DenseProblem& p) {
  return str_cat("dense ", p.q_tokens, " x ", p.kv_tokens, " head_dim ", p.head_dim);
}
std::string describe(const MonarchProblem& p) {
  return str_cat("monarch blocks ", p.layout().block_rows(), " x ", p.layout().block_cols(),
                 " head_dim ", p.head_dim);
}
std::string describe(const VMonarchProblem& p) {
  return str_cat("vmonarch ", p.frames, " frames ", p.height, " x ", p.width, " head_dim ",
                 p.head_dim);
}

struct Operands {
  Tensor q;
  Tensor k;
  Tensor v;
};

template <typename Problem>
Operands random_operands(const Problem& p, DType dtype, double q_factor, Padding padding = {}) {
  const auto make = [&](std::int64_t tokens, std::uint32_t seed, double factor) {
    return random_tensor({p.batch, tokens, p.num_heads, p.head_dim}, dtype, seed, factor, padding);
  };
  return {make(tokens_of(p).q, 1, q_factor), make(tokens_of(p).kv, 2, 1),
          make(tokens_of(p).kv, 3, 1)};
}

class CpuBf16 : public testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    const auto isas = cpu::available_isas(DType::kBF16);
    if (std::ranges::find(isas, GetParam()) == isas.end()) {
      GTEST_SKIP() << "this processor or build does not offer " << cpu::isa_name(GetParam());
    }
  }

  template <typename Problem>
  void check(const Problem& p, double q_factor = 1, Padding padding = {}) {
    const Operands rounded = random_operands(p, DType::kBF16, q_factor, padding);
    const Operands before = random_operands(p, DType::kF64, q_factor);
    Tensor want(rounded.q.shape(), DType::kF64);
    Tensor unrounded(rounded.q.shape(), DType::kF64);
    exact(p, rounded.q, rounded.k, rounded.v, want);
    exact(p, before.q, before.k, before.v, unrounded);
    const Tensor got = run_plan(plan(p, 1, GetParam()), rounded.q, rounded.k, rounded.v,
                                Tensor(rounded.q.shape(), DType::kF32), nullptr);
    const double error = relative_error(got, want);
    const double distance = relative_error(unrounded, want);
    // The mean error of rounding a value once, for cases where the operands' errors happen to
    // cancel.
    constexpr double kOneRounding = 1.0 / 1024;
    EXPECT_LE(error, distance + kOneRounding)
        << describe(p) << " q_factor " << q_factor << ' ' << worst_element(got, want);
    // Other tasks, same sums; and the same results rounded.
    const Tensor stored = run_plan(plan(p, 3, GetParam()), rounded.q, rounded.k, rounded.v,
                                   Tensor(rounded.q.shape(), DType::kBF16, padding), nullptr);
    Tensor rounded_got(got.shape(), DType::kBF16);
    rounded_got.assign(got.values());
    EXPECT_EQ(stored.values(), rounded_got.values()) << describe(p);
  }
};

INSTANTIATE_TEST_SUITE_P(, CpuBf16, testing::Values(cpu::Isa::kAvx512Bf16, cpu::Isa::kAmx),
                         [](const auto& info) {
                           return info.param == cpu::Isa::kAmx ? "Amx" : "Avx512Bf16";
                         });

TEST_P(CpuBf16, MonarchOfEveryRemainder) {
  for (const std::int64_t width : {1, 2, 3, 15, 16, 17, 31, 32, 33, 52, 64, 65, 97}) {
    check(MonarchProblem{.head_dim = 16, .kv_frames = 2, .height = 3, .width = width});
  }
  for (const std::int64_t height : {1, 2, 15, 16, 17, 30, 31, 32, 33, 65}) {
    check(MonarchProblem{.head_dim = 16, .kv_frames = 2, .height = height, .width = 5});
  }
  for (const std::int64_t head_dim : {1, 2, 3, 17, 31, 32, 33, 64, 100, 128, 129, 256}) {
    // Enough numbers for the two errors to be compared.
    const std::int64_t num_heads = head_dim < 16 ? 16 : 2;
    check(MonarchProblem{
        .num_heads = num_heads, .head_dim = head_dim, .kv_frames = 2, .height = 5, .width = 6});
  }
}

TEST_P(CpuBf16, MonarchOfTilingsBatchesAndCaches) {
  check(MonarchProblem{.batch = 2,
                       .num_heads = 3,
                       .head_dim = 16,
                       .q_frames = 2,
                       .kv_frames = 3,
                       .height = 4,
                       .width = 6});
  for (const std::int64_t f_tied : {1, 2}) {
    for (const std::int64_t w_reduce : {1, 3}) {
      MonarchProblem p{.num_heads = 2,
                       .head_dim = 16,
                       .q_frames = 2,
                       .kv_frames = 4,
                       .height = 4,
                       .width = 6,
                       .f_tied = f_tied,
                       .h_reduce = 2,
                       .w_reduce = w_reduce};
      check(p);
      p.kv_block_order = true;
      check(p);
      p.kv_block_order = false;
      p.q_frames = 4;
      p.block_causal_size = 2 * 24;
      check(p);
    }
  }
  check(MonarchProblem{.head_dim = 100, .height = 80, .width = 40});  // cut by columns
}

TEST_P(CpuBf16, Dense) {
  for (const std::int64_t tokens : {1, 2, 16, 17, 31, 33, 127, 128, 129, 255, 256, 257, 300}) {
    check(DenseProblem{.head_dim = 16, .q_tokens = tokens, .kv_tokens = 37});
    check(DenseProblem{.head_dim = 16, .q_tokens = 5, .kv_tokens = tokens});
  }
  for (const std::int64_t head_dim : {1, 3, 31, 64, 128, 130, 256}) {
    check(DenseProblem{.num_heads = 2, .head_dim = head_dim, .q_tokens = 33, .kv_tokens = 200});
  }
  check(DenseProblem{.batch = 2,
                     .num_heads = 3,
                     .head_dim = 16,
                     .q_tokens = 60,
                     .kv_tokens = 60,
                     .block_causal_size = 15});
}

TEST_P(CpuBf16, VMonarch) {
  for (const std::int64_t frames : {1, 2, 5, 13})
    check(VMonarchProblem{.head_dim = 16, .frames = frames, .height = 2, .width = 3});
  for (const std::int64_t width : {1, 7, 17, 193, 257})
    check(VMonarchProblem{.head_dim = 16, .frames = 3, .width = width});
  for (const std::int64_t head_dim : {3, 31, 64, 130}) {
    check(VMonarchProblem{
        .num_heads = 2, .head_dim = head_dim, .frames = 3, .height = 3, .width = 5});
  }
  for (const std::int64_t iters : {1, 2, 4}) {
    for (const bool recompute : {false, true}) {
      check(VMonarchProblem{.batch = 2,
                            .num_heads = 2,
                            .head_dim = 16,
                            .frames = 4,
                            .height = 3,
                            .width = 5,
                            .num_iters = iters,
                            .recompute_first_frame = recompute});
    }
  }
  check(VMonarchProblem{.head_dim = 16,
                        .frames = 6,
                        .height = 3,
                        .width = 5,
                        .softmax_scale = 0.7,
                        .c_r_min = 1.5,
                        .frames_per_factor = 2});
  check(VMonarchProblem{
      .head_dim = 16, .frames = 4, .height = 3, .width = 5, .split = Split::kFrameRowsXCols});
}

TEST_P(CpuBf16, StridedAndMisaligned) {
  const Padding padding{.head = 3, .token = 1, .start = 1};
  check(MonarchProblem{.batch = 2,
                       .num_heads = 2,
                       .head_dim = 20,
                       .q_frames = 2,
                       .kv_frames = 2,
                       .height = 5,
                       .width = 7},
        1, padding);
  check(DenseProblem{.batch = 2, .num_heads = 2, .head_dim = 20, .q_tokens = 40, .kv_tokens = 70},
        1, padding);
  check(VMonarchProblem{.num_heads = 2, .head_dim = 20, .frames = 4, .height = 3, .width = 5}, 1,
        padding);
}

TEST_P(CpuBf16, SharpAndFlatScores) {
  for (const double factor : {0.0, 0.1, 8.0, 30.0, 300.0}) {
    check(MonarchProblem{.head_dim = 32, .q_frames = 2, .kv_frames = 3, .height = 6, .width = 9},
          factor);
    check(DenseProblem{.head_dim = 32, .q_tokens = 40, .kv_tokens = 200}, factor);
    check(VMonarchProblem{.head_dim = 32, .frames = 4, .height = 3, .width = 9}, factor);
  }
}

TEST_P(CpuBf16, WeightsSumToOne) {
  const MonarchProblem p{.head_dim = 40, .q_frames = 2, .kv_frames = 5, .height = 7, .width = 18};
  Operands x = random_operands(p, DType::kBF16, 3);
  x.v.fill(1.0);
  const Tensor out =
      run_plan(plan(p, 1, GetParam()), x.q, x.k, x.v, Tensor(x.q.shape(), DType::kF32), nullptr);
  for (std::int64_t index = 0; index < out.size(); ++index)
    ASSERT_NEAR(out.get(index), 1.0, 4e-3) << index;  // Y rounded once: 2^-9; the sums' share of it
}

TEST_P(CpuBf16, LogSumExp) {
  // Dense scores are exact products, so their log-sum-exp is a float's; Monarch's come from aL.
  const auto compare = [&](const auto& p, double tolerance) {
    const Operands x = random_operands(p, DType::kBF16, 1);
    const auto of = [&](cpu::Isa isa) {
      Tensor lse({p.batch, p.num_heads, tokens_of(p).q}, DType::kF32);
      run_plan(plan(p, 2, isa), x.q, x.k, x.v, Tensor(x.q.shape(), DType::kF32),
               static_cast<float*>(lse.view().data));
      return lse;
    };
    const Tensor got = of(GetParam());
    const Tensor want = of(cpu::Isa::kGeneric);
    EXPECT_LE(relative_error(got, want), tolerance) << worst_element(got, want);
  };
  compare(DenseProblem{.num_heads = 2, .head_dim = 64, .q_tokens = 70, .kv_tokens = 130}, 1e-6);
  compare(
      MonarchProblem{
          .num_heads = 2, .head_dim = 64, .q_frames = 2, .kv_frames = 3, .height = 6, .width = 9},
      5e-4);
}

TEST_P(CpuBf16, NaNSpreads) {
  const MonarchProblem p{.head_dim = 16, .q_frames = 2, .kv_frames = 2, .height = 3, .width = 5};
  Operands x = random_operands(p, DType::kBF16, 1);
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    x.k.set(17, bad);
    const Tensor out =
        run_plan(plan(p, 1, GetParam()), x.q, x.k, x.v, Tensor(x.q.shape(), DType::kF32), nullptr);
    for (std::int64_t index = 0; index < out.size(); ++index)
      ASSERT_FALSE(std::isfinite(out.get(index))) << index << ' ' << bad;
  }
}

// The fixtures' operands are exact in bf16. `observed` is the error of the plain formula with every
// tensor rounded to bf16, which the kernels must not exceed.
TEST_P(CpuBf16, EveryFixture) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    const auto& t = fixture.tensors;
    const auto replay = [&](const auto& p) {
      const bool cached = t.contains("expect.k_cache");
      const auto rounded = [](const Tensor& tensor) {
        Tensor result(tensor.shape(), DType::kBF16);
        result.assign(tensor.values());
        EXPECT_EQ(result.values(), tensor.values());
        return result;
      };
      const Tensor got = run_plan(plan(p, 2, GetParam()), rounded(t.at("input.q")),
                                  rounded(t.at(cached ? "expect.k_cache" : "input.k")),
                                  rounded(t.at(cached ? "expect.v_cache" : "input.v")),
                                  Tensor(t.at("expect.out").shape(), DType::kF32), nullptr);
      EXPECT_LE(relative_error(got, t.at("expect.out"), fixture.rms_floor), fixture.observed_bf16)
          << fixture.name << ' ' << worst_element(got, t.at("expect.out"));
      ++count;
    };
    if (!std::isfinite(fixture.observed_bf16)) continue;
    if (fixture.op.starts_with("dense_")) {
      replay(dense_problem(fixture));
    } else if (monarch_problem(fixture).num_iters == 1) {
      replay(monarch_problem(fixture));
    }
  }
  EXPECT_GE(count, 10);
}

TEST_P(CpuBf16, TakesNothingElse) {
  const DenseProblem p{.head_dim = 8, .q_tokens = 4, .kv_tokens = 4};
  const Tensor half = random_tensor({1, 4, 1, 8}, DType::kBF16, 1);
  const Tensor single = random_tensor({1, 4, 1, 8}, DType::kF32, 1);
  const std::string name(cpu::isa_name(GetParam()));
  try {
    run_plan(plan(p, 1, GetParam()), half, single, half, Tensor({1, 4, 1, 8}, DType::kF32),
             nullptr);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), "[monarch_attention] k has dtype F32; the kernels of " + name +
                                " take BF16 alone: use those of avx512");
  }
  const Implementation& kernels = implementation("cpu-" + name);
  EXPECT_EQ(kernels.refusal(p, DType::kF32, Direction::kForward),
            "cpu-" + name + " takes BF16, not F32");
  EXPECT_EQ(kernels.refusal(p, DType::kF16, Direction::kForward),
            "cpu-" + name + " takes BF16, not F16");
  EXPECT_EQ(kernels.refusal(p, DType::kBF16, Direction::kForward), "");
}

TEST_P(CpuBf16, IsChosenByTheEnvironmentWithTheSetBeneathIt) {
  const std::string name(cpu::isa_name(GetParam()));
  const DenseProblem p{.head_dim = 8, .q_tokens = 4, .kv_tokens = 4};
  setenv("MONARCH_ISA", name.c_str(), 1);
  EXPECT_EQ(cpu::default_isa(DType::kBF16), GetParam());
  EXPECT_EQ(cpu::default_isa(), cpu::Isa::kAvx512);
  EXPECT_EQ(choose(p, DType::kBF16).name(), "cpu-" + name);
  EXPECT_EQ(choose(p, DType::kF32).name(), "cpu-avx512");
  EXPECT_EQ(implementations().size(), 3U);
  unsetenv("MONARCH_ISA");
}

}  // namespace
}  // namespace monarch::attention::test
