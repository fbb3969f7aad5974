// Operands, errors and gradients for tests of the attention operators.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "monarch/ops/tensor_views.h"

namespace monarch::ops {

struct Operands {
  at::Tensor q, k, v;

  Operands to(at::ScalarType type) const { return {q.to(type), k.to(type), v.to(type)}; }
  std::vector<at::Tensor> leaves() {
    for (at::Tensor* t : {&q, &k, &v}) *t = t->detach().clone().requires_grad_();
    return {q, k, v};
  }
};

// Standard normal, exact in bfloat16, so that every type starts from the same numbers.
inline at::Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::kFloat).to(at::kBFloat16).to(at::kDouble);
}

inline Operands random_operands(int64_t batch, int64_t q_tokens, int64_t kv_tokens, int64_t heads,
                                int64_t dim) {
  return {normal({batch, q_tokens, heads, dim}, 1), normal({batch, kv_tokens, heads, dim}, 2),
          normal({batch, kv_tokens, heads, dim}, 3)};
}

inline double error(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  const at::Tensor wide = got.detach().to(at::kDouble);
  return ((wide - want).norm() / want.norm().clamp_min(1e-6)).item<double>();
}

inline std::vector<at::Tensor> gradients(const at::Tensor& out,
                                         const std::vector<at::Tensor>& leaves,
                                         const at::Tensor& grad_out) {
  return torch::autograd::grad({out}, leaves, {grad_out.to(out.scalar_type())});
}

}  // namespace monarch::ops
