// Monarch attention on the CPU, backward: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

class MonarchBackwardPlan {
 public:
  // Throws as check_plan().
  MonarchBackwardPlan(const MonarchProblem& problem, int num_threads, Isa isa = default_isa(),
                      ParallelLoop loop = parallel_for);

  // Scratch for run(), linear in tokens: float key gradients of a few heads; with one iteration the
  // intermediates of a few key blocks, else those of all key blocks and iterations for one query
  // block of each of those heads; and a fixed part a thread.
  std::size_t workspace_bytes() const;

  // Overwrites all three gradients; grad_k and grad_v lie as k and v do (block order in a KV
  // cache). inputs.out and inputs.lse are read if there is one iteration. Allocates nothing; the
  // result does not depend on num_threads.
  void run(const BackwardInputs& inputs, const Gradients& gradients,
           std::span<std::byte> workspace) const;

 private:
  struct Pieces;
  StepArgs shape() const;
  bool whole_keys(const StepArgs& shape) const;

  MonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
