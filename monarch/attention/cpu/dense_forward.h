// Dense attention on the CPU, forward: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/problem.h"
#include "monarch/base/parallel.h"

namespace monarch::attention::cpu {

class DenseForwardPlan {
 public:
  // Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for head_dim > 256.
  DenseForwardPlan(const DenseProblem& problem, int num_threads, Isa isa = default_isa(),
                   ParallelLoop loop = parallel_for);

  // Scratch for run(); does not depend on the number of tokens.
  std::size_t workspace_bytes() const;

  // As MonarchForwardPlan::run: [B, N, H, D] of F32, BF16 or F16; `lse` [B, H, Nq] or null, with
  // another distance from head to head if lse_stride is not 0; allocates nothing; the result does
  // not depend on num_threads.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, float* lse, std::span<std::byte> workspace,
           std::int64_t lse_stride = 0) const;

 private:
  DenseForwardArgs args() const;

  DenseProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
