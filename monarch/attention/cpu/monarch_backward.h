// Monarch attention on the CPU, backward, one refinement step: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/problem.h"
#include "monarch/base/parallel.h"

namespace monarch::attention::cpu {

// What the forward read and left behind; all [B, N, H, D] as in MonarchForwardPlan::run.
struct MonarchBackwardInputs {
  ConstTensorView q;
  ConstTensorView k;
  ConstTensorView v;
  ConstTensorView out;
  ConstTensorView grad_out;
  const float* lse = nullptr;  // [B, H, Nq], from the forward
};

class MonarchBackwardPlan {
 public:
  // Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for num_iters > 1
  // or head_dim > 256.
  MonarchBackwardPlan(const MonarchProblem& problem, int num_threads, Isa isa = default_isa(),
                      ParallelLoop loop = parallel_for);

  // Scratch for run(); linear in the number of keys.
  std::size_t workspace_bytes() const;

  // Overwrites all three gradients; grad_k and grad_v lie as k and v do (block order in a KV
  // cache). Allocates nothing; the result does not depend on num_threads.
  void run(const MonarchBackwardInputs& inputs, const TensorView& grad_q, const TensorView& grad_k,
           const TensorView& grad_v, std::span<std::byte> workspace) const;

 private:
  MonarchBackwardArgs args() const;

  MonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
