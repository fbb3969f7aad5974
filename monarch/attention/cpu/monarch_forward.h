// Monarch attention on the CPU, forward, one refinement step: plan once per shape, run many times.
#pragma once

#include <cstddef>
#include <span>

#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/problem.h"
#include "monarch/base/parallel.h"

namespace monarch::attention::cpu {

class MonarchForwardPlan {
 public:
  // Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for num_iters > 1
  // or head_dim > 256.
  MonarchForwardPlan(const MonarchProblem& problem, int num_threads, Isa isa = default_isa(),
                     ParallelLoop loop = parallel_for);

  // Scratch for run(); grows with threads and block size, not with the number of keys.
  std::size_t workspace_bytes() const;

  // q, k, v, out: [B, N, H, D] of dtype F32, BF16 or F16 (sums are always float). `lse`: [B, H, Nq]
  // contiguous, the log-sum-exp of each query's scores over (key block, block row), or null.
  // `workspace`: at least workspace_bytes(). Allocates nothing. The result does not depend on
  // num_threads. May be called from several threads with different workspaces.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, float* lse, std::span<std::byte> workspace) const;

 private:
  MonarchForwardArgs args() const;
  std::int64_t column_groups() const;

  MonarchProblem problem_;
  int num_threads_;
  Isa isa_;
  ParallelLoop loop_;
  std::int64_t column_groups_ = 1;
};

}  // namespace monarch::attention::cpu
