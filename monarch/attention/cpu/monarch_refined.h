// Monarch attention on the CPU, forward, several refinement steps: plan once per shape, run many
// times. One step has a faster way, monarch_forward.h.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

class MonarchRefinedPlan {
 public:
  // Throws as check_plan().
  MonarchRefinedPlan(const MonarchProblem& problem, int num_threads, Isa isa = default_isa(),
                     ParallelLoop loop = parallel_for);

  // Scratch for run(): the intermediates of a few query blocks, linear in keys, and a fixed part a
  // thread.
  std::size_t workspace_bytes() const;

  // As MonarchForwardPlan::run, without log-sum-exp: its backward finds all again.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, std::span<std::byte> workspace) const;

 private:
  struct Pieces;

  MonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
};

}  // namespace monarch::attention::cpu
