// The CPU's dense forward of every instruction set against the reference.
#include "monarch/attention/cpu/dense_forward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "monarch/attention/reference/dense.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

Tensor run(const DenseProblem& p, const Tensor& q, const Tensor& k, const Tensor& v, cpu::Isa isa,
           int threads, float* lse = nullptr) {
  Tensor out(q.shape(), q.dtype());
  out.fill(std::nan(""));
  const cpu::DenseForwardPlan plan(p, threads, isa);
  std::vector<std::byte> workspace(plan.workspace_bytes(), std::byte{0xff});
  plan.run(q.view(), k.view(), v.view(), out.view(), lse, workspace);
  return out;
}

void check(const DenseProblem& p, DType dtype = DType::kF32, double q_factor = 1,
           Padding padding = {}) {
  const Tensor q =
      random_tensor({p.batch, p.q_tokens, p.num_heads, p.head_dim}, dtype, 1, q_factor, padding);
  const Tensor k =
      random_tensor({p.batch, p.kv_tokens, p.num_heads, p.head_dim}, dtype, 2, 1, padding);
  const Tensor v =
      random_tensor({p.batch, p.kv_tokens, p.num_heads, p.head_dim}, dtype, 3, 1, padding);
  Tensor want(q.shape(), DType::kF64);
  reference::dense_forward(p, q.view(), k.view(), v.view(), want.view());
  const double storage = dtype == DType::kBF16 ? 4e-3 : dtype == DType::kF16 ? 5e-4 : 0;
  for (const cpu::Isa isa : cpu::available_isas()) {
    std::vector<float> lse(static_cast<std::size_t>(p.batch * p.num_heads * p.q_tokens));
    const Tensor got = run(p, q, k, v, isa, 1, lse.data());
    EXPECT_LE(relative_error(got, want), storage + (q_factor > 1 ? 2e-5 : 3e-6))
        << cpu::isa_name(isa) << " queries " << p.q_tokens << " keys " << p.kv_tokens
        << " head_dim " << p.head_dim << ' ' << worst_element(got, want);
    EXPECT_EQ(run(p, q, k, v, isa, 3).values(), got.values());  // other tiles, same sums
    // log-sum-exp of the first query of the last head.
    double sum = 0;
    const std::int64_t head = p.num_heads - 1;
    for (std::int64_t u = 0; u < p.visible_keys(0); ++u) {
      double score = 0;
      for (std::int64_t d = 0; d < p.head_dim; ++d) {
        score += q.get(head * p.head_dim + d) * k.get((u * p.num_heads + head) * p.head_dim + d);
      }
      sum += std::exp(p.scale() * score);
    }
    if (std::isfinite(sum)) {
      EXPECT_NEAR(lse[head * p.q_tokens], std::log(sum), 1e-5 * (1 + std::abs(std::log(sum))));
    }
  }
}

TEST(CpuDenseForward, EveryVectorRemainderAndTile) {
  for (const std::int64_t tokens :
       {1, 2, 3, 5, 8, 12, 15, 16, 17, 31, 63, 95, 96, 97, 191, 192, 193, 300}) {
    check({.head_dim = 8, .q_tokens = tokens, .kv_tokens = 7});
    check({.head_dim = 8, .q_tokens = 5, .kv_tokens = tokens});
  }
  for (const std::int64_t head_dim : {1, 3, 4, 20, 31, 64, 96, 128, 130, 256}) {
    check({.num_heads = 2, .head_dim = head_dim, .q_tokens = 33, .kv_tokens = 100});
  }
}

TEST(CpuDenseForward, MasksDtypesStridesAndScores) {
  check({.batch = 2,
         .num_heads = 3,
         .head_dim = 16,
         .q_tokens = 60,
         .kv_tokens = 60,
         .block_causal_size = 15});
  check({.head_dim = 16, .q_tokens = 500, .kv_tokens = 500, .block_causal_size = 250});
  check({.num_heads = 2, .head_dim = 24, .q_tokens = 40, .kv_tokens = 70}, DType::kBF16);
  check({.num_heads = 2, .head_dim = 24, .q_tokens = 40, .kv_tokens = 70}, DType::kF16);
  check({.batch = 2, .num_heads = 2, .head_dim = 20, .q_tokens = 40, .kv_tokens = 70}, DType::kF32,
        1, {.head = 3, .token = 1, .start = 1});
  for (const double factor : {0.0, 30.0, 300.0})
    check({.head_dim = 32, .q_tokens = 40, .kv_tokens = 200}, DType::kF32, factor);
}

TEST(CpuDenseForward, EveryFixture) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (!fixture.op.starts_with("dense_")) continue;
    const bool cached = fixture.op == "dense_attention_kv_cache";
    const Tensor& k = fixture.tensors.at(cached ? "expect.k_cache" : "input.k");
    const Tensor& v = fixture.tensors.at(cached ? "expect.v_cache" : "input.v");
    const Tensor& want = fixture.tensors.at("expect.out");
    for (const cpu::Isa isa : cpu::available_isas()) {
      const Tensor got = run(dense_problem(fixture), fixture.tensors.at("input.q"), k, v, isa, 2);
      EXPECT_LE(relative_error(got, want, fixture.rms_floor), fixture.tolerance) << fixture.name;
    }
    ++count;
  }
  EXPECT_GE(count, 3);
}

}  // namespace
}  // namespace monarch::attention::test
