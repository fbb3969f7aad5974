// Inputs of the fused Monarch forwards on the emulated GPU, and how near the reference they come.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {

template <const cuda::DeviceLimits& kLimits>
struct MonarchCase {
  MonarchProblem problem;
  DType dtype = DType::kBF16;
  double q_factor = 1;
  cuda::DeviceLimits limits = kLimits;
  Padding padding = {};
};

struct MonarchInputs {
  Tensor q;
  Tensor k;
  Tensor v;
};

template <typename Case>
MonarchInputs random_inputs(const Case& c) {
  const MonarchProblem& p = c.problem;
  const auto tensor = [&](std::int64_t tokens, std::uint32_t seed, double factor) {
    return random_tensor({p.batch, tokens, p.num_heads, p.head_dim}, c.dtype, seed, factor,
                         c.padding);
  };
  return {tensor(p.q_tokens(), 1, c.q_factor), tensor(p.kv_tokens(), 2, 1),
          tensor(p.kv_tokens(), 3, 1)};
}

// Outputs are rounded to 16 bits, and so are a_L, Y and both softmaxes' weights on the way: each
// adds a relative error of about one rounding, 2^-9 in bf16 and 2^-12 in f16. The bounds are four
// and eight times that for standard normal operands.
template <typename Case>
double tolerance(const Case& c) {
  return (c.q_factor > 1 ? 2 : 1) * (c.dtype == DType::kBF16 ? 8e-3 : 1e-3);
}

template <typename Case>
void expect_reference(const Case& c, const MonarchInputs& in, const Tensor& got) {
  Tensor want(in.q.shape(), DType::kF64);
  reference::monarch_forward(c.problem, in.q.view(), in.k.view(), in.v.view(), want.view());
  const BlockLayout layout = c.problem.layout();
  EXPECT_LE(relative_error(got, want), tolerance(c))
      << dtype_name(c.dtype) << " blocks " << layout.block_rows() << " x " << layout.block_cols()
      << " head_dim " << c.problem.head_dim << ' ' << worst_element(got, want);
}

}  // namespace monarch::attention::test
