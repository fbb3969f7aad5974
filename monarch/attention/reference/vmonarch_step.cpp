#include "monarch/attention/reference/vmonarch_step.h"

#include <algorithm>
#include <utility>

namespace monarch::attention::reference {
namespace {

void start_step(const SplitLayout& layout, const Matrix& q, const VMonarchStep* previous,
                VMonarchStep& step) {
  const std::int64_t m = layout.num_rows();
  const std::int64_t cols = layout.num_cols();
  if (previous == nullptr) {
    step.a_r = q;
    step.c_r = Matrix(q.rows, 1);
    std::ranges::fill(step.c_r.values, 1.0);
    return;
  }
  step.a_r = Matrix(q.rows, q.cols);
  step.c_r = Matrix(q.rows, 1);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < cols; ++j) {
      for (std::int64_t k = 0; k < m; ++k) {
        const double weight = previous->l[i * cols + j][k];
        add_scaled(weight, q[i * cols + j], step.a_r[k * cols + j]);
        step.c_r[k * cols + j][0] += weight;
      }
    }
  }
}

}  // namespace

std::vector<VMonarchStep> run_vmonarch(const VMonarchProblem& problem, const Matrix& q,
                                       const Matrix& k) {
  const std::int64_t m = problem.layout().num_rows();
  const std::int64_t cols = problem.layout().num_cols();
  const double scale = problem.scale();
  std::vector<VMonarchStep> steps;
  for (std::int64_t t = 0; t < problem.num_iters; ++t) {
    VMonarchStep step;
    start_step(problem.layout(), q, t == 0 ? nullptr : &steps.back(), step);
    step.r = Matrix(q.rows, cols);
    step.a_l = Matrix(q.rows, q.cols);
    step.entropy = Matrix(q.rows, 1);
    step.l = Matrix(q.rows, m);
    for (std::int64_t row_k = 0; row_k < m; ++row_k) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const std::int64_t row = row_k * cols + j;
        const std::span<double> r = step.r[row];
        const double g = scale / std::max(step.c_r[row][0], problem.c_r_min);
        for (std::int64_t l = 0; l < cols; ++l) r[l] = g * dot(step.a_r[row], k[row_k * cols + l]);
        const std::vector<double> scores(r.begin(), r.end());
        const double log_sum = softmax_in_place(r);
        for (std::int64_t l = 0; l < cols; ++l) {
          add_scaled(r[l], k[row_k * cols + l], step.a_l[row]);
          step.entropy[row][0] -= r[l] * (scores[l] - log_sum);
        }
      }
    }
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const std::span<double> l = step.l[i * cols + j];
        for (std::int64_t row_k = 0; row_k < m; ++row_k) {
          const std::int64_t row = row_k * cols + j;
          l[row_k] = scale * dot(q[i * cols + j], step.a_l[row]) + step.entropy[row][0];
        }
        softmax_in_place(l);
      }
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

Matrix vmonarch_values(const VMonarchProblem& problem, const VMonarchStep& last, const Matrix& v) {
  const std::int64_t cols = problem.layout().num_cols();
  Matrix y(v.rows, v.cols);
  for (std::int64_t row = 0; row < v.rows; ++row) {
    const std::int64_t row_k = row / cols;
    for (std::int64_t l = 0; l < cols; ++l) add_scaled(last.r[row][l], v[row_k * cols + l], y[row]);
  }
  return y;
}

}  // namespace monarch::attention::reference
