// Dense attention on the CPU, backward: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

class DenseBackwardPlan {
 public:
  // Throws as check_plan().
  DenseBackwardPlan(const DenseProblem& problem, int num_threads, Isa isa = default_isa(),
                    ParallelLoop loop = parallel_for);

  // Scratch for run(): float gradients of a few heads, linear in tokens, and a fixed part a thread.
  std::size_t workspace_bytes() const;

  // Overwrites all three gradients. Allocates nothing; the result does not depend on num_threads.
  void run(const BackwardInputs& inputs, const Gradients& gradients,
           std::span<std::byte> workspace) const;

 private:
  DenseBackwardArgs args() const;

  struct Pieces;

  DenseProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
  std::int64_t heads_at_once_ = 1;
};

// Tiles and groups for a problem of these sizes; they depend on nothing else, so neither do
// results.
void set_tiles(const Kernels& kernels, DenseBackwardArgs& args);

// All steps for `heads` heads from args.first_head on, added to args.dq, dk and dv.
void add_dense_gradients(const Kernels& kernels, const ParallelLoop& loop, int num_threads,
                         DenseBackwardArgs args, std::int64_t heads, const ScratchSpace& scratch);

}  // namespace monarch::attention::cpu
