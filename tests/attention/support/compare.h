// Any implementation against the reference, and against stored cases.
#pragma once

#include "monarch/attention/registry.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {

struct Operands {
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor grad_out;
};

struct GradientTensors {
  Tensor q;
  Tensor k;
  Tensor v;
};

std::int64_t num_q_tokens(const Problem& problem);
std::int64_t num_kv_tokens(const Problem& problem);

// The CPU's that take every dtype; for those that multiply bf16 see cpu_bf16_test.cpp.
std::vector<const Implementation*> fast_implementations();

struct Inputs {
  DType dtype = DType::kF32;
  double q_factor = 1;
  Padding padding = {};  // of all tensors
};
Operands random_operands(const Problem& problem, const Inputs& inputs = {});

// Every float implementation's output against the reference's, and against itself on several
// threads.
void check_forward(const Problem& problem, const Inputs& inputs = {}, double tolerance = 5e-6);

// Forward and backward with a workspace and results full of NaN: nothing may be read before it is
// written.
GradientTensors run_backward(const Implementation& kernels, const Problem& problem,
                             const Operands& x, int num_threads, Padding padding = {});

// Every float implementation against the reference, and against itself on 1, 2 and 5 threads. The
// bound is for standard normal operands, the relative error of each gradient.
void check_backward(const Problem& problem, const Inputs& inputs = {}, double tolerance = 5e-6);

// Every float implementation against the output of a fixture.
void check_fixture_output(const Fixture& fixture, const Problem& problem);

// Every float implementation against the gradients of a fixture; false if it has none.
bool check_fixture_gradients(const Fixture& fixture, const Problem& problem);

}  // namespace monarch::attention::test
