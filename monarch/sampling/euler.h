#pragma once

#include "monarch/sampling/solver.h"

namespace monarch::sampling {

// First order: x += flow * (sigma_next - sigma), on the grid of dpm++ (from sigma 1).
class EulerSolver : public Solver {
 public:
  explicit EulerSolver(const SolverOptions& options);

 protected:
  at::Tensor advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) override;
};

}  // namespace monarch::sampling
