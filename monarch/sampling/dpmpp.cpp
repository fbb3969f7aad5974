#include "monarch/sampling/dpmpp.h"

#include <cmath>

#include "monarch/base/error.h"

namespace monarch::sampling {

DpmppSolver::DpmppSolver(const SolverOptions& options)
    : Solver(make_sigma_grid(1.0, options.num_steps, options.shift, options.num_train_timesteps)),
      order_(options.order),
      heun_(options.solver_type == "heun"),
      lower_order_final_(options.lower_order_final) {
  MONARCH_CHECK(order_ >= 1 && order_ <= 3, "[monarch_sampling] dpm++ has orders 1, 2 and 3, not ",
                order_);
  MONARCH_CHECK(heun_ || options.solver_type.empty() || options.solver_type == "midpoint",
                "[monarch_sampling] unknown dpm++ solver_type '", options.solver_type,
                "'; use midpoint or heun");
}

at::Tensor DpmppSolver::advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) {
  const at::Tensor m = x - flow * sigma(i);
  const std::int64_t steps = num_steps();
  const bool short_end = lower_order_final_ && steps < 15 && i == steps - 2;
  std::int64_t order = std::min(order_, i + 1);
  if (i == steps - 1) order = 1;  // the last sigma is 0: h is infinite
  if (short_end) order = std::min<std::int64_t>(order, 2);

  const double h = lambda(i + 1) - lambda(i);
  const double decay = std::exp(-h) - 1.0;
  const double alpha_next = alpha(i + 1);
  at::Tensor next = x * (sigma(i + 1) / sigma(i)) - m * (alpha_next * decay);
  if (order == 2) {
    // lambda_0 is -inf, so the difference vanishes in the second step.
    const double h0 = lambda(i) - lambda(i - 1);
    const at::Tensor d1 = (m - previous_) * (h / h0);
    const double weight = heun_ ? alpha_next * (decay / h + 1.0) : -0.5 * alpha_next * decay;
    next = next + d1 * weight;
  } else if (order == 3) {
    const double r0 = (lambda(i) - lambda(i - 1)) / h;
    const double r1 = (lambda(i - 1) - lambda(i - 2)) / h;
    const at::Tensor e0 = (m - previous_) / r0;
    const at::Tensor e1 = (previous_ - before_previous_) / r1;
    const at::Tensor d1 = e0 + (e0 - e1) * (r0 / (r0 + r1));
    const at::Tensor d2 = (e0 - e1) / (r0 + r1);
    next = next + d1 * (alpha_next * (decay / h + 1.0)) -
           d2 * (alpha_next * ((decay + h) / (h * h) - 0.5));
  }
  before_previous_ = previous_;
  previous_ = m;
  return next;
}

}  // namespace monarch::sampling
