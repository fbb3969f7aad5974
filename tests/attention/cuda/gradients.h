// What tests of the CUDA backward kernels share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "monarch/attention/cuda/monarch_backward.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {

struct Operands {
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor grad_out;
};

inline Operands random_operands(const cuda::Sizes& sizes, std::int64_t q_tokens,
                                std::int64_t kv_tokens, DType dtype, const Padding& padding) {
  const auto tensor = [&](std::int64_t tokens, std::uint32_t seed) {
    return random_tensor({sizes.batch, tokens, sizes.num_heads, sizes.head_dim}, dtype, seed, 1,
                         padding);
  };
  return {tensor(q_tokens, 1), tensor(kv_tokens, 2), tensor(kv_tokens, 3), tensor(q_tokens, 4)};
}

struct Gradients {
  Tensor q;
  Tensor k;
  Tensor v;

  Gradients(const Operands& of, DType dtype, const Padding& padding = {})
      : q(of.q.shape(), dtype, padding),
        k(of.k.shape(), dtype, padding),
        v(of.k.shape(), dtype, padding) {}
};

// What the forward leaves for the backward, and the gradients, at first full of NaN.
struct BackwardRun {
  Tensor out;
  Tensor lse;
  Gradients grad;

  BackwardRun(const Operands& in, DType dtype, const Padding& padding)
      : out(in.q.shape(), dtype, padding),
        lse({in.q.shape()[0], in.q.shape()[2], in.q.shape()[1]}, DType::kF32),
        grad(in, dtype, padding) {
    for (Tensor* tensor : {&out, &lse, &grad.q, &grad.k, &grad.v}) tensor->fill(std::nan(""));
  }
  float* lse_data() { return static_cast<float*>(lse.view().data); }
  cuda::MonarchBackwardTensors tensors(const Operands& in) {
    return {in.q.view(), in.k.view(),   in.v.view(),   read_only(out.view()), in.grad_out.view(),
            lse_data(),  grad.q.view(), grad.k.view(), grad.v.view()};
  }
};

// Within so many roundings to 16 bits: 2^-9 in bf16, 2^-12 in f16.
inline void expect_near(const Gradients& got, const Gradients& want, double roundings, DType dtype,
                        const std::string& what) {
  const double tolerance = roundings * (dtype == DType::kBF16 ? std::exp2(-9) : std::exp2(-12));
  const auto compare = [&](const char* name, const Tensor& one, const Tensor& exact) {
    EXPECT_LE(relative_error(one, exact), tolerance)
        << name << ' ' << what << ' ' << dtype_name(dtype) << ' ' << worst_element(one, exact);
  };
  compare("grad_q", got.q, want.q);
  compare("grad_k", got.k, want.k);
  compare("grad_v", got.v, want.v);
}

inline void expect_same(const Gradients& one, const Gradients& other) {
  EXPECT_EQ(one.q.values(), other.q.values());
  EXPECT_EQ(one.k.values(), other.k.values());
  EXPECT_EQ(one.v.values(), other.v.values());
}

// Fixtures of Monarch attention with gradients, where bf16 means something.
inline bool has_gradients(const Fixture& fixture) {
  return fixture.op.starts_with("monarch_attention") &&
         fixture.tensors.contains("input.grad_out") && fixture.observed_bf16 < 0.05;
}

// What a fixture gives: with a cache, the keys and values in it.
inline Operands operands_of(const Fixture& fixture, bool cached, DType dtype) {
  const auto narrow = [&](const std::string& name) {
    const Tensor& wide = fixture.tensors.at(name);
    Tensor result(wide.shape(), dtype);
    result.assign(wide.values());
    return result;
  };
  return {narrow("input.q"), narrow(cached ? "expect.k_cache" : "input.k"),
          narrow(cached ? "expect.v_cache" : "input.v"), narrow("input.grad_out")};
}

// Within three times the error of the plain formula in bf16; returns how many were compared.
inline int expect_fixture(const Fixture& fixture, bool cached, const Gradients& got) {
  int count = 0;
  const auto compare = [&](const std::string& name, const Tensor& tensor) {
    if (!fixture.tensors.contains(name)) return;
    const Tensor& want = fixture.tensors.at(name);
    EXPECT_LE(relative_error(tensor, want, fixture.rms_floor),
              std::max(3 * fixture.observed_bf16, 0.015))
        << fixture.name << ' ' << name << ' ' << worst_element(tensor, want);
    ++count;
  };
  compare("grad.q", got.q);
  compare(cached ? "grad.k_cache" : "grad.k", got.k);
  compare(cached ? "grad.v_cache" : "grad.v", got.v);
  return count;
}

}  // namespace monarch::attention::test
