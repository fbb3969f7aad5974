// An attention problem as lists of numbers, which is what an operator's schema can hold.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "monarch/attention/registry.h"

namespace monarch::ops {

struct ProblemNumbers {
  std::vector<int64_t> integers;  // kind of problem, then its fields in order
  std::vector<double> scalars;    // softmax scale, c_r_min
};

ProblemNumbers encode(const attention::Problem& problem);

// The problem that q and k make with encode()'s numbers. Throws if these are not of that form.
attention::Problem decode(const at::Tensor& q, const at::Tensor& k, at::IntArrayRef integers,
                          at::ArrayRef<double> scalars);

}  // namespace monarch::ops
