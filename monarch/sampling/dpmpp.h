#pragma once

#include "monarch/sampling/solver.h"

namespace monarch::sampling {

// DPM-Solver++, multistep, data prediction, orders 1 to 3 (Lu et al., 2022). With h = lambda_{i+1}
// - lambda_i:
//   order 1:  x' = (sigma'/sigma) x - alpha' (e^-h - 1) m_i                   m_i = x - sigma_i
//   flow order 2:  adds the first divided difference of m, order 3 the second one.
// The first and the last step are of order 1; with fewer than 15 steps the last but one is of order
// 2 at most.
class DpmppSolver : public Solver {
 public:
  explicit DpmppSolver(const SolverOptions& options);

 protected:
  at::Tensor advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) override;

 private:
  std::int64_t order_;
  bool heun_;
  bool lower_order_final_;
  at::Tensor previous_, before_previous_;  // m_{i-1}, m_{i-2}
};

}  // namespace monarch::sampling
