// The CPU's Monarch backward of every instruction set against the reference.
#include "monarch/attention/cpu/monarch_backward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "monarch/attention/cpu/monarch_forward.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

struct Gradients {
  Tensor q;
  Tensor k;
  Tensor v;
};

struct Operands {
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor grad_out;
};

Gradients run(const MonarchProblem& p, const Operands& x, cpu::Isa isa, int threads,
              Padding padding = {}) {
  Tensor out(x.q.shape(), x.q.dtype());
  std::vector<float> lse(static_cast<std::size_t>(p.batch * p.num_heads * p.q_tokens()));
  const cpu::MonarchForwardPlan forward(p, threads, isa);
  std::vector<std::byte> workspace(forward.workspace_bytes(), std::byte{0xff});
  forward.run(x.q.view(), x.k.view(), x.v.view(), out.view(), lse.data(), workspace);
  const cpu::MonarchBackwardPlan backward(p, threads, isa);
  workspace.assign(backward.workspace_bytes(), std::byte{0xff});
  Gradients result{Tensor(x.q.shape(), x.q.dtype(), padding),
                   Tensor(x.k.shape(), x.q.dtype(), padding),
                   Tensor(x.v.shape(), x.q.dtype(), padding)};
  for (Tensor* gradient : {&result.q, &result.k, &result.v}) gradient->fill(std::nan(""));
  backward.run(
      {x.q.view(), x.k.view(), x.v.view(), read_only(out.view()), x.grad_out.view(), lse.data()},
      result.q.view(), result.k.view(), result.v.view(), workspace);
  return result;
}

void check(const MonarchProblem& p, double q_factor = 1, DType dtype = DType::kF32,
           Padding padding = {}) {
  const auto make = [&](std::int64_t tokens, std::uint32_t seed, double factor) {
    return random_tensor({p.batch, tokens, p.num_heads, p.head_dim}, dtype, seed, factor, padding);
  };
  const Operands x{make(p.q_tokens(), 1, q_factor), make(p.kv_tokens(), 2, 1),
                   make(p.kv_tokens(), 3, 1), make(p.q_tokens(), 4, 1)};
  Gradients want{Tensor(x.q.shape(), DType::kF64), Tensor(x.k.shape(), DType::kF64),
                 Tensor(x.v.shape(), DType::kF64)};
  reference::monarch_backward(p, x.q.view(), x.k.view(), x.v.view(), x.grad_out.view(),
                              want.q.view(), want.k.view(), want.v.view());
  const double tolerance = (q_factor > 1 ? 5e-5 : 5e-6) + (dtype == DType::kF32 ? 0 : 2e-2);
  for (const cpu::Isa isa : cpu::available_isas()) {
    const Gradients got = run(p, x, isa, 1, padding);
    const Gradients threaded = run(p, x, isa, 3, padding);
    const auto compare = [&](const Tensor& mine, const Tensor& theirs, const Tensor& again,
                             const char* name) {
      EXPECT_LE(relative_error(mine, theirs), tolerance)
          << name << ' ' << cpu::isa_name(isa) << " rows " << p.layout().block_rows() << " cols "
          << p.layout().block_cols() << " head_dim " << p.head_dim << ' '
          << worst_element(mine, theirs);
      EXPECT_EQ(again.values(), mine.values());
    };
    compare(got.q, want.q, threaded.q, "q");
    compare(got.k, want.k, threaded.k, "k");
    compare(got.v, want.v, threaded.v, "v");
  }
}

TEST(CpuMonarchBackward, EveryVectorRemainder) {
  for (const std::int64_t width : {1, 2, 3, 4, 5, 8, 12, 13, 16, 17, 28, 52, 65}) {
    check({.head_dim = 8, .kv_frames = 2, .height = 3, .width = width});
  }
  for (const std::int64_t height : {1, 2, 4, 5, 12, 16, 17, 30, 65}) {
    check({.head_dim = 8, .kv_frames = 2, .height = height, .width = 5});
  }
  for (const std::int64_t head_dim : {1, 3, 5, 16, 20, 31, 64, 96, 128, 130}) {
    check({.num_heads = 2, .head_dim = head_dim, .kv_frames = 2, .height = 5, .width = 6});
  }
}

TEST(CpuMonarchBackward, TilingsMasksCachesScoresAndStorage) {
  check({.batch = 2,
         .num_heads = 3,
         .head_dim = 16,
         .q_frames = 2,
         .kv_frames = 3,
         .height = 4,
         .width = 6});
  MonarchProblem p{.num_heads = 2,
                   .head_dim = 16,
                   .q_frames = 2,
                   .kv_frames = 4,
                   .height = 4,
                   .width = 6,
                   .f_tied = 2,
                   .h_reduce = 2,
                   .w_reduce = 3};
  check(p);
  check(p, 30.0);
  p.kv_block_order = true;
  check(p);
  check(p, 1.0, DType::kF32, {.head = 1, .token = 3, .start = 1});
  check(p, 1.0, DType::kBF16);
  p.kv_block_order = false;
  p.q_frames = 4;
  p.block_causal_size = 48;
  check(p);
}

TEST(CpuMonarchBackward, EveryFixtureOfOneStep) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("monarch_attention") || !fixture.tensors.contains("grad.q"))
      continue;
    const MonarchProblem p = monarch_problem(fixture);
    if (p.num_iters != 1) continue;
    const auto& t = fixture.tensors;
    const bool cached = p.kv_block_order;
    const Operands x{t.at("input.q"), t.at(cached ? "expect.k_cache" : "input.k"),
                     t.at(cached ? "expect.v_cache" : "input.v"), t.at("input.grad_out")};
    for (const cpu::Isa isa : cpu::available_isas()) {
      Gradients got = run(p, x, isa, 2);
      const auto compare = [&](const Tensor& mine, const std::string& name) {
        if (!t.contains(name)) return;
        EXPECT_LE(relative_error(mine, t.at(name), fixture.rms_floor), fixture.tolerance)
            << fixture.name << ' ' << name << ' ' << worst_element(mine, t.at(name));
      };
      compare(got.q, "grad.q");
      compare(got.k, cached ? "grad.k_cache" : "grad.k");
      compare(got.v, cached ? "grad.v_cache" : "grad.v");
      if (cached) {
        Tensor new_k(t.at("grad.new_k").shape(), DType::kF32);
        Tensor new_v(t.at("grad.new_v").shape(), DType::kF32);
        const std::int64_t start = cache_write(fixture).start;
        copy_to_token_order(p.layout(), read_only(got.k.view()), start, new_k.view());
        copy_to_token_order(p.layout(), read_only(got.v.view()), start, new_v.view());
        compare(new_k, "grad.new_k");
        compare(new_v, "grad.new_v");
      }
    }
    ++count;
  }
  EXPECT_GE(count, 5);
}

}  // namespace
}  // namespace monarch::attention::test
