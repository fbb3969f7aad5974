// VMonarch on the CPU, forward, any number of iterations: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/dense_forward.h"
#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/problem.h"
#include "monarch/base/parallel.h"

namespace monarch::attention::cpu {

class VMonarchForwardPlan {
 public:
  // Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for head_dim > 256.
  VMonarchForwardPlan(const VMonarchProblem& problem, int num_threads, Isa isa = default_isa(),
                      ParallelLoop loop = parallel_for);

  // Scratch for run(): one head's intermediates (linear in tokens) and a fixed part a thread.
  std::size_t workspace_bytes() const;

  // q, k, v, out: [B, N, H, D] of F32, BF16 or F16. `lse`: [B, H, N] contiguous or null; of its
  // values only those of a recomputed first frame's tokens are written. Allocates nothing; the
  // result does not depend on num_threads.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, float* lse, std::span<std::byte> workspace) const;

 private:
  VMonarchForwardArgs args() const;
  DenseForwardPlan first_frame() const;

  VMonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
