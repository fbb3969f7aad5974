#include "tests/attention/support/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "monarch/attention/cpu/isa.h"

namespace monarch::attention::test {
namespace {

struct Shape {
  std::int64_t batch, q_tokens, kv_tokens, num_heads, head_dim;
};

Shape shape_of(const Problem& problem) {
  if (const auto* dense = std::get_if<DenseProblem>(&problem)) {
    return {dense->batch, dense->q_tokens, dense->kv_tokens, dense->num_heads, dense->head_dim};
  }
  if (const auto* p = std::get_if<MonarchProblem>(&problem)) {
    return {p->batch, p->q_tokens(), p->kv_tokens(), p->num_heads, p->head_dim};
  }
  const auto& p = std::get<VMonarchProblem>(problem);
  return {p.batch, p.num_tokens(), p.num_tokens(), p.num_heads, p.head_dim};
}

std::string describe(const Problem& problem) {
  const Shape s = shape_of(problem);
  std::string text =
      str_cat("queries ", s.q_tokens, " keys ", s.kv_tokens, " head_dim ", s.head_dim);
  if (const auto* p = std::get_if<MonarchProblem>(&problem)) {
    text += str_cat(" blocks ", p->layout().block_rows(), " x ", p->layout().block_cols(),
                    " iterations ", p->num_iters);
  }
  if (const auto* p = std::get_if<VMonarchProblem>(&problem)) {
    text += str_cat(" factors ", p->layout().num_rows(), " x ", p->layout().num_cols(),
                    " iterations ", p->num_iters);
  }
  return text;
}

}  // namespace

std::int64_t num_q_tokens(const Problem& problem) { return shape_of(problem).q_tokens; }
std::int64_t num_kv_tokens(const Problem& problem) { return shape_of(problem).kv_tokens; }

std::vector<const Implementation*> float_implementations() {
  std::vector<const Implementation*> all;
  for (const cpu::Isa isa : cpu::available_isas(DType::kF32))
    all.push_back(&implementation("cpu-" + std::string(cpu::isa_name(isa))));
  return all;
}

Operands random_operands(const Problem& problem, const Inputs& inputs) {
  const Shape s = shape_of(problem);
  const auto make = [&](std::int64_t tokens, std::uint32_t seed, double factor) {
    return random_tensor({s.batch, tokens, s.num_heads, s.head_dim}, inputs.dtype, seed, factor,
                         inputs.padding);
  };
  return {make(s.q_tokens, 1, inputs.q_factor), make(s.kv_tokens, 2, 1), make(s.kv_tokens, 3, 1),
          make(s.q_tokens, 4, 1)};
}

void check_forward(const Problem& problem, const Inputs& inputs, double tolerance) {
  const Operands x = random_operands(problem, inputs);
  Tensor want(x.q.shape(), DType::kF64);
  implementation("reference")
      .forward(problem, {x.q.view(), x.k.view(), x.v.view(), want.view()}, 1, {});
  for (const Implementation* kernels : float_implementations()) {
    ASSERT_EQ(kernels->refusal(problem, inputs.dtype, Direction::kForward), "");
    const auto run = [&](int threads) {
      Tensor out(x.q.shape(), inputs.dtype, inputs.padding);
      out.fill(std::nan(""));
      std::vector<std::byte> workspace(kernels->forward_workspace(problem, threads),
                                       std::byte{0xff});
      kernels->forward(problem, {x.q.view(), x.k.view(), x.v.view(), out.view()}, threads,
                       workspace);
      return out;
    };
    const Tensor got = run(1);
    EXPECT_LE(relative_error(got, want), tolerance)
        << kernels->name() << ' ' << describe(problem) << ' ' << worst_element(got, want);
    for (const int threads : {2, 5}) EXPECT_EQ(run(threads).values(), got.values()) << threads;
  }
}

GradientTensors run_backward(const Implementation& kernels, const Problem& problem,
                             const Operands& x, int num_threads, Padding padding) {
  const DType dtype = x.q.dtype();
  Tensor out(x.q.shape(), dtype);
  out.fill(std::nan(""));
  const Shape s = shape_of(problem);
  std::vector<float> lse(static_cast<std::size_t>(s.batch * s.num_heads * s.q_tokens),
                         std::nanf(""));
  constexpr std::byte kNaN{0xff};
  std::vector<std::byte> workspace(kernels.forward_workspace(problem, num_threads), kNaN);
  kernels.forward(problem, {x.q.view(), x.k.view(), x.v.view(), out.view(), lse.data()},
                  num_threads, workspace);
  GradientTensors result{Tensor(x.q.shape(), dtype, padding), Tensor(x.k.shape(), dtype, padding),
                         Tensor(x.v.shape(), dtype, padding)};
  for (Tensor* gradient : {&result.q, &result.k, &result.v}) gradient->fill(std::nan(""));
  workspace.assign(kernels.backward_workspace(problem, num_threads), kNaN);
  kernels.backward(problem,
                   {x.q.view(), x.k.view(), x.v.view(), read_only(out.view()), x.grad_out.view(),
                    result.q.view(), result.k.view(), result.v.view(), lse.data()},
                   num_threads, workspace);
  return result;
}

void check_backward(const Problem& problem, const Inputs& inputs, double tolerance) {
  const Operands x = random_operands(problem, inputs);
  GradientTensors want{Tensor(x.q.shape(), DType::kF64), Tensor(x.k.shape(), DType::kF64),
                       Tensor(x.v.shape(), DType::kF64)};
  implementation("reference")
      .backward(problem,
                {x.q.view(), x.k.view(), x.v.view(), x.q.view(), x.grad_out.view(), want.q.view(),
                 want.k.view(), want.v.view()},
                1, {});
  for (const Implementation* kernels : float_implementations()) {
    ASSERT_EQ(kernels->refusal(problem, inputs.dtype, Direction::kBackward), "");
    const GradientTensors got = run_backward(*kernels, problem, x, 1, inputs.padding);
    const auto compare = [&](const Tensor& mine, const Tensor& theirs, const char* name) {
      // Where a gradient vanishes, the terms that cancel are of order 1.
      const bool vanishes = std::ranges::all_of(theirs.values(), [](double x) { return x == 0; });
      EXPECT_LE(relative_error(mine, theirs, vanishes ? 1.0 : 1e-3), tolerance)
          << name << ' ' << kernels->name() << ' ' << describe(problem) << ' '
          << worst_element(mine, theirs);
    };
    compare(got.q, want.q, "q");
    compare(got.k, want.k, "k");
    compare(got.v, want.v, "v");
    for (const int threads : {2, 5}) {
      const GradientTensors again = run_backward(*kernels, problem, x, threads, inputs.padding);
      EXPECT_EQ(again.q.values(), got.q.values()) << threads << ' ' << describe(problem);
      EXPECT_EQ(again.k.values(), got.k.values()) << threads << ' ' << describe(problem);
      EXPECT_EQ(again.v.values(), got.v.values()) << threads << ' ' << describe(problem);
    }
  }
}

void check_fixture_output(const Fixture& fixture, const Problem& problem) {
  const TensorMap& t = fixture.tensors;
  const bool cached = t.contains("expect.k_cache");
  const Tensor& q = t.at("input.q");
  const Tensor& k = t.at(cached ? "expect.k_cache" : "input.k");
  const Tensor& v = t.at(cached ? "expect.v_cache" : "input.v");
  for (const Implementation* kernels : float_implementations()) {
    Tensor out(q.shape(), DType::kF32);
    std::vector<std::byte> workspace(kernels->forward_workspace(problem, 2));
    kernels->forward(problem, {q.view(), k.view(), v.view(), out.view()}, 2, workspace);
    EXPECT_LE(relative_error(out, t.at("expect.out"), fixture.rms_floor), fixture.tolerance)
        << fixture.name << ' ' << kernels->name() << ' ' << worst_element(out, t.at("expect.out"));
  }
}

bool check_fixture_gradients(const Fixture& fixture, const Problem& problem) {
  const TensorMap& t = fixture.tensors;
  if (!t.contains("grad.q")) return false;
  const bool cached = t.contains("expect.k_cache");
  const Operands x{t.at("input.q"), t.at(cached ? "expect.k_cache" : "input.k"),
                   t.at(cached ? "expect.v_cache" : "input.v"), t.at("input.grad_out")};
  for (const Implementation* kernels : float_implementations()) {
    GradientTensors got = run_backward(*kernels, problem, x, 2);
    const auto compare = [&](const Tensor& mine, const std::string& name) {
      if (!t.contains(name)) return;
      EXPECT_LE(relative_error(mine, t.at(name), fixture.rms_floor), fixture.tolerance)
          << fixture.name << ' ' << kernels->name() << ' ' << name << ' '
          << worst_element(mine, t.at(name));
    };
    compare(got.q, "grad.q");
    compare(got.k, cached ? "grad.k_cache" : "grad.k");
    compare(got.v, cached ? "grad.v_cache" : "grad.v");
    if (!cached) continue;
    const auto* monarch = std::get_if<MonarchProblem>(&problem);
    const BlockLayout layout = monarch == nullptr ? BlockLayout{} : monarch->layout();
    Tensor new_k(t.at("grad.new_k").shape(), DType::kF32);
    Tensor new_v(t.at("grad.new_v").shape(), DType::kF32);
    const std::int64_t start = cache_write(fixture).start;
    copy_to_token_order(layout, read_only(got.k.view()), start, new_k.view());
    copy_to_token_order(layout, read_only(got.v.view()), start, new_v.view());
    compare(new_k, "grad.new_k");
    compare(new_v, "grad.new_v");
  }
  return true;
}

}  // namespace monarch::attention::test
