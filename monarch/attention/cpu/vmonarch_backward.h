// VMonarch on the CPU, backward, any number of iterations: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

class VMonarchBackwardPlan {
 public:
  // Throws as check_plan().
  VMonarchBackwardPlan(const VMonarchProblem& problem, int num_threads, Isa isa = default_isa(),
                       ParallelLoop loop = parallel_for);

  // Scratch for run(): the intermediates of a few heads and all iterations, linear in tokens, and a
  // fixed part a thread.
  std::size_t workspace_bytes() const;

  // Overwrites all three gradients; the entropies are constants. inputs.lse and inputs.out are read
  // where the first frame is recomputed. Allocates nothing; the result does not depend on
  // num_threads.
  void run(const BackwardInputs& inputs, const Gradients& gradients,
           std::span<std::byte> workspace) const;

 private:
  VMonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
