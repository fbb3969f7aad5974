// Monarch attention on the CPU, backward, one refinement step: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

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
  void run(const BackwardInputs& inputs, const Gradients& gradients,
           std::span<std::byte> workspace) const;

 private:
  MonarchBackwardArgs args() const;

  MonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
