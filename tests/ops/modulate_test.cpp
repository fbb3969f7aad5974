// How gradients pass through the operators of modulation. Their kernels are a GPU's; here plain
// formulas take the kernels' place.
#include "monarch/ops/modulate.h"

#include <gtest/gtest.h>
#include <torch/library.h>

#include <functional>
#include <tuple>

#include "monarch/ops/operator_handle.h"
#include "tests/ops/support/operands.h"
#include "tests/support/message_of.h"

namespace monarch::ops {
namespace {

constexpr int64_t kTokens = 6;
constexpr int64_t kChannels = 8;
constexpr double kEps = 1e-3;

// A row for every token.
at::Tensor for_tokens(const at::Tensor& modulation) {
  return modulation.repeat_interleave(kTokens / modulation.size(1), 1);
}
// The sum of what is said for every token, in the shape of the modulation.
at::Tensor of_runs(const at::Tensor& tokens, const at::Tensor& modulation) {
  const int64_t runs = modulation.size(1);
  return tokens.unflatten(1, {runs, kTokens / runs}).sum(2).sum_to_size(modulation.sizes());
}

at::Tensor normed(const at::Tensor& x) { return at::layer_norm(x, {kChannels}, {}, {}, kEps); }

at::Tensor norm_formula(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                        double /*eps*/) {
  return normed(x) * (1 + for_tokens(scale)) + for_tokens(shift);
}
std::tuple<at::Tensor, at::Tensor, at::Tensor> norm_gradient_formula(const at::Tensor& grad_out,
                                                                     const at::Tensor& x,
                                                                     const at::Tensor& scale,
                                                                     double eps) {
  const at::Tensor n = normed(x), h = grad_out * (1 + for_tokens(scale));
  const at::Tensor deviation = (x.var({2}, /*unbiased=*/false, /*keepdim=*/true) + eps).sqrt();
  const at::Tensor grad_x = (h - h.mean(2, true) - n * (h * n).mean(2, true)) / deviation;
  return {grad_x, of_runs(grad_out, scale), of_runs(grad_out * n, scale)};
}
at::Tensor gated_add_formula(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
  return x + for_tokens(gate) * y;
}
std::tuple<at::Tensor, at::Tensor> gated_add_gradient_formula(const at::Tensor& grad_out,
                                                              const at::Tensor& gate,
                                                              const at::Tensor& y) {
  return {of_runs(grad_out * y, gate), grad_out * for_tokens(gate)};
}
at::Tensor gelu_formula(const at::Tensor& x) { return at::gelu(x, "tanh"); }
at::Tensor gelu_gradient_formula(const at::Tensor& grad_out, const at::Tensor& x) {
  return at::gelu_backward(grad_out, x, "tanh");
}

TORCH_LIBRARY_IMPL(monarch, CPU, library) {
  library.impl("modulated_norm_forward", norm_formula);
  library.impl("modulated_norm_backward", norm_gradient_formula);
  library.impl("gated_add_forward", gated_add_formula);
  library.impl("gated_add_backward", gated_add_gradient_formula);
  library.impl("gelu_tanh_forward", gelu_formula);
  library.impl("gelu_tanh_backward", gelu_gradient_formula);
}

// Of the operator against Torch's own of the formula.
void expect_gradients(const std::vector<at::Tensor>& operands,
                      const std::function<at::Tensor(const std::vector<at::Tensor>&)>& op,
                      const std::function<at::Tensor(const std::vector<at::Tensor>&)>& formula) {
  const at::Tensor grad = normal({2, kTokens, kChannels}, 9);
  const auto run = [&](const auto& compute) {
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& t : operands) leaves.push_back(t.detach().clone().requires_grad_());
    const at::Tensor out = compute(leaves);
    std::vector<at::Tensor> results = gradients(out, leaves, grad);
    results.push_back(out);
    return results;
  };
  const std::vector<at::Tensor> got = run(op), want = run(formula);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_LT(error(got[i], want[i]), 1e-10) << i;
}

TEST(Modulation, GradientsReachTheirOperands) {
  const at::Tensor x = normal({2, kTokens, kChannels}, 1), y = normal({2, kTokens, kChannels}, 2);
  for (const int64_t batch : {1, 2}) {
    const at::Tensor one = normal({batch, 3, kChannels}, 3), other = normal(one.sizes(), 4);
    expect_gradients(
        {x, one, other}, [](const auto& o) { return modulated_norm(o[0], o[1], o[2], kEps); },
        [](const auto& o) { return norm_formula(o[0], o[1], o[2], kEps); });
    expect_gradients(
        {x, one, y}, [](const auto& o) { return gated_add(o[0], o[1], o[2]); },
        [](const auto& o) { return gated_add_formula(o[0], o[1], o[2]); });
  }
  expect_gradients(
      {x}, [](const auto& o) { return gelu_tanh(o[0]); },
      [](const auto& o) { return gelu_formula(o[0]); });
}

TEST(Modulation, NothingIsRecordedForWhatNeedsNoGradient) {
  const at::Tensor x = normal({1, kTokens, kChannels}, 1), gate = normal({1, 1, kChannels}, 2);
  EXPECT_FALSE(gated_add(x, gate, x).requires_grad());
  EXPECT_FALSE(gelu_tanh(x).requires_grad());
  EXPECT_FALSE(modulated_norm(x, gate, gate, kEps).requires_grad());
}

TEST(Modulation, ShiftAndScaleHaveOneShape) {
  const at::Tensor x = normal({1, kTokens, kChannels}, 1);
  EXPECT_EQ(
      message_of([&] {
        modulated_norm(x, at::zeros({1, 2, kChannels}), at::zeros({1, 3, kChannels}), kEps);
      }),
      "[monarch_ops] shift is [1, 2, 8] and scale [1, 3, 8]; modulated_norm needs them of one "
      "shape");
}

}  // namespace
}  // namespace monarch::ops
