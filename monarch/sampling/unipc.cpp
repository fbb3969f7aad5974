#include "monarch/sampling/unipc.h"

#include <cmath>

#include "monarch/base/error.h"

namespace monarch::sampling {
namespace {

// Solves A x = b by elimination with row pivoting; A is tiny (the solver's order).
std::vector<double> solve(std::vector<std::vector<double>> a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column + 1; row < n; ++row) {
      if (std::abs(a[row][column]) > std::abs(a[pivot][column])) pivot = row;
    }
    std::swap(a[column], a[pivot]);
    std::swap(b[column], b[pivot]);
    for (size_t row = column + 1; row < n; ++row) {
      const double factor = a[row][column] / a[column][column];
      for (size_t k = column; k < n; ++k) a[row][k] -= factor * a[column][k];
      b[row] -= factor * b[column];
    }
  }
  std::vector<double> x(n);
  for (size_t row = n; row-- > 0;) {
    double sum = b[row];
    for (size_t k = row + 1; k < n; ++k) sum -= a[row][k] * x[k];
    x[row] = sum / a[row][row];
  }
  return x;
}

// The weights rho of the differences D_1..D_n: R rho = b with R_jk = r_k^(j-1), b_j = j! psi_j /
// B(h). The orders with a single difference use 1/2, as in the paper.
std::vector<double> difference_weights(const std::vector<double>& r, double g, double phi) {
  const size_t n = r.size();
  if (n == 1) return {0.5};
  std::vector<std::vector<double>> matrix(n, std::vector<double>(n, 1.0));
  std::vector<double> right(n);
  double psi = phi / g - 1.0;
  double factorial = 1.0;
  for (size_t j = 0; j < n; ++j) {
    if (j > 0) {
      for (size_t k = 0; k < n; ++k) matrix[j][k] = matrix[j - 1][k] * r[k];
    }
    factorial *= static_cast<double>(j + 1);
    right[j] = psi * factorial / phi;
    psi = psi / g - 1.0 / (factorial * static_cast<double>(j + 2));  // - 1/(j+1)!, j from 1
  }
  return solve(std::move(matrix), std::move(right));
}

}  // namespace

UniPcSolver::UniPcSolver(const SolverOptions& options)
    : Solver(make_sigma_grid(static_cast<double>(static_cast<float>(
                                 1.0 - 1.0 / static_cast<double>(std::max<std::int64_t>(
                                                 1, options.num_train_timesteps)))),
                             options.num_steps, options.shift, options.num_train_timesteps)),
      order_(options.order) {
  MONARCH_CHECK(order_ >= 1 && order_ <= 8, "[monarch_sampling] unipc orders go from 1 to 8, not ",
                order_, "; 2 is usual");
  MONARCH_CHECK(options.solver_type.empty() || options.solver_type == "bh2",
                "[monarch_sampling] unipc solver_type '", options.solver_type,
                "' cannot reach the final noise level 0; use bh2");
  MONARCH_CHECK(options.lower_order_final || order_ == 1,
                "[monarch_sampling] unipc above order 1 needs lower_order_final, because the final "
                "noise level is 0");
}

at::Tensor UniPcSolver::move(std::int64_t s, std::int64_t p, const at::Tensor& x,
                             const at::Tensor* m_next) const {
  const double h = lambda(s + 1) - lambda(s);
  const double g = -h;
  const double phi = std::expm1(g);  // also B(h)
  // outputs_ starts with m_s; r_k and D_k for the p-1 earlier ones.
  std::vector<double> r;
  std::vector<at::Tensor> differences;
  for (std::int64_t k = 1; k < p; ++k) {
    r.push_back((lambda(s - k) - lambda(s)) / h);
    differences.push_back((outputs_[static_cast<size_t>(k)] - outputs_[0]) / r.back());
  }
  if (m_next != nullptr) {
    r.push_back(1.0);
    differences.push_back(*m_next - outputs_[0]);
  }
  at::Tensor next = x * (sigma(s + 1) / sigma(s)) - outputs_[0] * (alpha(s + 1) * phi);
  if (!differences.empty()) {
    const std::vector<double> rho = difference_weights(r, g, phi);
    for (size_t k = 0; k < rho.size(); ++k) {
      next = next - differences[k] * (alpha(s + 1) * phi * rho[k]);
    }
  }
  return next;
}

at::Tensor UniPcSolver::advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) {
  const at::Tensor m = x - flow * sigma(i);
  at::Tensor sample = x;
  if (i > 0) sample = move(i - 1, previous_order_, corrected_, &m);
  outputs_.push_front(m);
  if (outputs_.size() > static_cast<size_t>(order_)) outputs_.pop_back();
  const std::int64_t p = std::min({order_, num_steps() - i, i + 1});
  corrected_ = sample;
  previous_order_ = p;
  return move(i, p, sample, nullptr);
}

}  // namespace monarch::sampling
