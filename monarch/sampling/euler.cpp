#include "monarch/sampling/euler.h"

namespace monarch::sampling {

EulerSolver::EulerSolver(const SolverOptions& options)
    : Solver(make_sigma_grid(1.0, options.num_steps, options.shift, options.num_train_timesteps)) {}

at::Tensor EulerSolver::advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) {
  return x + flow * (sigma(i + 1) - sigma(i));
}

}  // namespace monarch::sampling
