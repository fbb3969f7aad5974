// The CPU's Monarch forward of every instruction set against the reference.
#include "monarch/attention/cpu/monarch_forward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "monarch/attention/reference/monarch_forward.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

struct Case {
  MonarchProblem problem;
  DType dtype = DType::kF32;
  double q_factor = 1;
  Padding padding = {};
};

// Float rounding in sums of this length; storage rounding of the result where it is 16 bit.
double tolerance(const Case& c) {
  const double storage = c.dtype == DType::kBF16 ? 4e-3 : c.dtype == DType::kF16 ? 5e-4 : 0;
  return storage + (c.q_factor > 1 ? 2e-5 : 3e-6);
}

Tensor run(const Case& c, const Tensor& q, const Tensor& k, const Tensor& v, cpu::Isa isa,
           int threads, float* lse = nullptr) {
  Tensor out(q.shape(), c.dtype, c.padding);
  out.fill(std::nan(""));
  const cpu::MonarchForwardPlan plan(c.problem, threads, isa);
  std::vector<std::byte> workspace(plan.workspace_bytes(),
                                   std::byte{0xff});  // NaN: nothing is read before written
  plan.run(q.view(), k.view(), v.view(), out.view(), lse, workspace);
  return out;
}

Tensor input(const Case& c, std::int64_t tokens, std::uint32_t seed, double factor = 1) {
  const MonarchProblem& p = c.problem;
  return random_tensor({p.batch, tokens, p.num_heads, p.head_dim}, c.dtype, seed, factor,
                       c.padding);
}

void check(const Case& c) {
  const MonarchProblem& p = c.problem;
  const Tensor q = input(c, p.q_tokens(), 1, c.q_factor);
  const Tensor k = input(c, p.kv_tokens(), 2);
  const Tensor v = input(c, p.kv_tokens(), 3);
  Tensor want(q.shape(), DType::kF64);
  reference::monarch_forward(p, q.view(), k.view(), v.view(), want.view());
  for (const cpu::Isa isa : cpu::available_isas()) {
    const Tensor got = run(c, q, k, v, isa, 1);
    EXPECT_LE(relative_error(got, want), tolerance(c))
        << cpu::isa_name(isa) << " rows " << p.layout().block_rows() << " cols "
        << p.layout().block_cols() << " head_dim " << p.head_dim << ' ' << worst_element(got, want);
    EXPECT_EQ(run(c, q, k, v, isa, 3).values(), got.values());
  }
}

TEST(CpuMonarchForward, EveryVectorRemainder) {
  for (const std::int64_t width :
       {1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20, 28, 31, 33, 52, 63, 64, 65, 67}) {
    check({{.head_dim = 8, .kv_frames = 2, .height = 3, .width = width}});
  }
  for (const std::int64_t height : {1, 2, 4, 5, 8, 12, 13, 16, 17, 21, 30, 33, 65}) {
    check({{.head_dim = 8, .kv_frames = 2, .height = height, .width = 5}});
  }
  for (const std::int64_t head_dim :
       {1, 2, 3, 5, 12, 16, 17, 20, 31, 40, 64, 65, 72, 96, 100, 128, 129, 192, 256}) {
    check({{.num_heads = 2, .head_dim = head_dim, .kv_frames = 2, .height = 5, .width = 6}});
  }
}

TEST(CpuMonarchForward, TilingsBatchesAndCaches) {
  check({{.batch = 2,
          .num_heads = 3,
          .head_dim = 16,
          .q_frames = 2,
          .kv_frames = 3,
          .height = 4,
          .width = 6}});
  for (const std::int64_t f_tied : {1, 2}) {
    for (const std::int64_t h_reduce : {1, 2, 4}) {
      for (const std::int64_t w_reduce : {1, 3, 6}) {
        MonarchProblem p{.num_heads = 2,
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
        check({p});
        p.kv_block_order = false;
        p.q_frames = 4;
        p.block_causal_size = 2 * 24;
        check({p});
      }
    }
  }
}

TEST(CpuMonarchForward, WideBlocksAreCutByColumns) {
  check({{.head_dim = 250, .height = 64, .width = 52}});
}

TEST(CpuMonarchForward, StoredInSixteenBits) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    check({{.num_heads = 2, .head_dim = 24, .q_frames = 2, .kv_frames = 3, .height = 5, .width = 7},
           dtype});
  }
}

TEST(CpuMonarchForward, StridedAndMisaligned) {
  const MonarchProblem p{.batch = 2,
                         .num_heads = 2,
                         .head_dim = 20,
                         .q_frames = 2,
                         .kv_frames = 2,
                         .height = 5,
                         .width = 7};
  check({p, DType::kF32, 1, {.head = 3, .token = 1, .start = 1}});
  check({p, DType::kBF16, 1, {.head = 0, .token = 13, .start = 3}});
}

TEST(CpuMonarchForward, SharpAndFlatScores) {
  const MonarchProblem p{.head_dim = 32, .q_frames = 2, .kv_frames = 3, .height = 6, .width = 9};
  for (const double factor : {0.0, 8.0, 30.0, 300.0}) check({p, DType::kF32, factor});
}

TEST(CpuMonarchForward, LogSumExpMatchesTheReference) {
  const MonarchProblem p{.num_heads = 2,
                         .head_dim = 24,
                         .q_frames = 2,
                         .kv_frames = 4,
                         .height = 6,
                         .width = 9,
                         .f_tied = 2,
                         .w_reduce = 3,
                         .softmax_scale = 0.5};
  const Case c{p};
  const Tensor q = input(c, p.q_tokens(), 1);
  const Tensor k = input(c, p.kv_tokens(), 2);
  const Tensor v = input(c, p.kv_tokens(), 3);
  Tensor want({1, 2, p.q_tokens()}, DType::kF64);
  Tensor out(q.shape(), DType::kF64);
  const BlockLayout layout = p.layout();
  reference::monarch_forward(
      p, q.view(), k.view(), v.view(), out.view(),
      [&](std::int64_t, std::int64_t head, std::int64_t a, const reference::StepShape& shape,
          const auto& steps, const reference::Matrix&) {
        // log-sum-exp = y - log L for any entry of the row.
        for (std::int64_t i = 0; i < shape.block_rows; ++i) {
          for (std::int64_t j = 0; j < shape.block_cols; ++j) {
            const std::int64_t position = (a * shape.block_rows + i) * shape.block_cols + j;
            const std::int64_t token = layout.token_of_position(position);
            double score = -steps[0].c_l[shape.fjk(0, j, 0)][0];
            for (std::int64_t d = 0; d < p.head_dim; ++d) {
              score += std::sqrt(p.scale()) * q.get((token * 2 + head) * p.head_dim + d) *
                       steps[0].a_l[shape.fjk(0, j, 0)][d];
            }
            want.set(head * p.q_tokens() + token,
                     score - std::log(steps[0].l[shape.fjk(0, j, 0)][i]));
          }
        }
      });
  for (const cpu::Isa isa : cpu::available_isas()) {
    Tensor got(want.shape(), DType::kF32);
    run(c, q, k, v, isa, 2, static_cast<float*>(got.view().data));
    EXPECT_LE(relative_error(got, want), 1e-6) << worst_element(got, want);
  }
}

TEST(CpuMonarchForward, NaNSpreads) {
  const Case c{{.head_dim = 16, .q_frames = 2, .kv_frames = 2, .height = 3, .width = 5}};
  const Tensor q = input(c, 30, 1);
  const Tensor v = input(c, 30, 3);
  for (const cpu::Isa isa : cpu::available_isas()) {
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      Tensor k = input(c, 30, 2);
      k.set(17, bad);
      const Tensor out = run(c, q, k, v, isa, 1);
      for (std::int64_t index = 0; index < out.size(); ++index) {
        ASSERT_FALSE(std::isfinite(out.get(index)))
            << cpu::isa_name(isa) << ' ' << index << ' ' << bad;
      }
    }
  }
}

TEST(CpuMonarchForward, EveryFixtureOfOneStep) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("monarch_attention")) continue;
    const Case c{monarch_problem(fixture)};
    if (c.problem.num_iters != 1) continue;
    Tensor k;
    Tensor v;
    if (c.problem.kv_block_order) {
      k = fixture.tensors.at("expect.k_cache");
      v = fixture.tensors.at("expect.v_cache");
    } else {
      k = fixture.tensors.at("input.k");
      v = fixture.tensors.at("input.v");
    }
    const Tensor& want = fixture.tensors.at("expect.out");
    for (const cpu::Isa isa : cpu::available_isas()) {
      const Tensor got = run(c, fixture.tensors.at("input.q"), k, v, isa, 2);
      EXPECT_LE(relative_error(got, want, fixture.rms_floor), fixture.tolerance)
          << fixture.name << ' ' << cpu::isa_name(isa) << ' ' << worst_element(got, want);
    }
    ++count;
  }
  EXPECT_GE(count, 5);
}

std::string message(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CpuMonarchForward, NamesWhatItCannotDo) {
  MonarchProblem p{.head_dim = 257, .height = 2, .width = 2};
  EXPECT_EQ(message([&] { cpu::MonarchForwardPlan(p, 1); }),
            "[monarch_attention] head_dim is 257; the CPU kernels take up to 256");
  p.head_dim = 8;
  EXPECT_EQ(message([&] { cpu::MonarchForwardPlan(p, 0); }),
            "[monarch_attention] num_threads is 0; it must be 1 to 1024");
  p.num_iters = 2;
  EXPECT_EQ(message([&] { cpu::MonarchForwardPlan(p, 1); }),
            "[monarch_attention] this kernel does one refinement step; got num_iters 2; "
            "MonarchRefinedPlan does several");
  p.num_iters = 1;
  const cpu::MonarchForwardPlan plan(p, 1);
  Tensor x({1, 4, 1, 8}, DType::kF32);
  std::vector<std::byte> small(16);
  EXPECT_TRUE(message([&] {
                plan.run(read_only(x.view()), read_only(x.view()), read_only(x.view()), x.view(),
                         nullptr, small);
              }).starts_with("[monarch_attention] the workspace has 16 bytes; this plan needs "));
  Tensor wide({1, 4, 1, 8}, DType::kF64);
  std::vector<std::byte> workspace(plan.workspace_bytes());
  EXPECT_EQ(message([&] {
              plan.run(read_only(wide.view()), read_only(x.view()), read_only(x.view()), x.view(),
                       nullptr, workspace);
            }),
            "[monarch_attention] q has dtype F64; the CPU kernels take F32, BF16 or F16");
}

TEST(Isa, ComesFromTheEnvironment) {
  const auto with = [](const char* value) {
    setenv("MONARCH_ISA", value, 1);
    std::string result = message([] { cpu::default_isa(); });
    if (result == "no error") result = cpu::isa_name(cpu::default_isa());
    unsetenv("MONARCH_ISA");
    return result;
  };
  EXPECT_EQ(with("generic"), "generic");
  EXPECT_TRUE(
      with("mmx").starts_with("[monarch_attention] MONARCH_ISA is 'mmx', which this processor or "
                              "build does not offer; use one of: generic"));
  EXPECT_EQ(with(""), cpu::isa_name(cpu::available_isas().back()));
}

}  // namespace
}  // namespace monarch::attention::test
