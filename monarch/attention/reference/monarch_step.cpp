#include "monarch/attention/reference/monarch_step.h"

#include <algorithm>
#include <utility>

namespace monarch::attention::reference {
namespace {

MonarchStep first_step(const StepShape& shape, const Matrix& q) {
  MonarchStep step;
  step.a_r = Matrix(shape.num_rows(), shape.head_dim);
  step.c_r = Matrix(shape.num_rows(), 1);
  std::ranges::fill(step.c_r.values, 1.0);
  for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
    std::copy(q.values.begin(), q.values.end(),
              step.a_r.values.begin() + f * static_cast<std::int64_t>(q.values.size()));
  }
  return step;
}

void r_half(const StepShape& shape, std::int64_t num_iters, const Matrix& k_rows,
            MonarchStep& step) {
  step.g = Matrix(shape.num_rows(), 1);
  step.r = Matrix(shape.num_rows(), shape.block_cols);
  step.log_r = Matrix(shape.num_rows(), shape.block_cols);
  step.a_l = Matrix(shape.num_rows(), shape.head_dim);
  step.c_l = Matrix(shape.num_rows(), 1);
  for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
    for (std::int64_t k = 0; k < shape.block_rows; ++k) {
      for (std::int64_t j = 0; j < shape.block_cols; ++j) {
        const std::int64_t row = shape.fkj(f, k, j);
        const std::int64_t l_row = shape.fjk(f, j, k);
        const double g =
            num_iters == 1 ? 1.0 : std::min(1.0 / (step.c_r[row][0] + kCrEpsilon), kMaxInverseCr);
        step.g[row][0] = g;
        const std::span<double> r = step.r[row];
        for (std::int64_t l = 0; l < shape.block_cols; ++l) {
          r[l] = g * dot(step.a_r[row], k_rows[shape.fkj(f, k, l)]);
          step.log_r[row][l] = r[l];
        }
        const double log_sum = softmax_in_place(r);
        for (std::int64_t l = 0; l < shape.block_cols; ++l) {
          step.log_r[row][l] -= log_sum;
          add_scaled(r[l], k_rows[shape.fkj(f, k, l)], step.a_l[l_row]);
          step.c_l[l_row][0] += r[l] * step.log_r[row][l];
        }
      }
    }
  }
}

void l_half(const StepShape& shape, const Matrix& q, MonarchStep& step) {
  step.l = Matrix(shape.num_rows(), shape.block_rows);
  std::vector<double> scores(static_cast<std::size_t>(shape.num_kv_blocks * shape.block_rows));
  for (std::int64_t j = 0; j < shape.block_cols; ++j) {
    for (std::int64_t i = 0; i < shape.block_rows; ++i) {
      for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
        for (std::int64_t k = 0; k < shape.block_rows; ++k) {
          const std::int64_t row = shape.fjk(f, j, k);
          scores[f * shape.block_rows + k] =
              dot(q[i * shape.block_cols + j], step.a_l[row]) - step.c_l[row][0];
        }
      }
      softmax_in_place(scores);
      for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
        for (std::int64_t k = 0; k < shape.block_rows; ++k) {
          step.l[shape.fjk(f, j, k)][i] = scores[f * shape.block_rows + k];
        }
      }
    }
  }
}

MonarchStep next_step(const StepShape& shape, const Matrix& q, const MonarchStep& step) {
  MonarchStep next;
  next.a_r = Matrix(shape.num_rows(), shape.head_dim);
  next.c_r = Matrix(shape.num_rows(), 1);
  for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
    for (std::int64_t k = 0; k < shape.block_rows; ++k) {
      for (std::int64_t j = 0; j < shape.block_cols; ++j) {
        const std::int64_t row = shape.fkj(f, k, j);
        for (std::int64_t i = 0; i < shape.block_rows; ++i) {
          const double weight = step.l[shape.fjk(f, j, k)][i];
          add_scaled(weight, q[i * shape.block_cols + j], next.a_r[row]);
          next.c_r[row][0] += weight;
        }
      }
    }
  }
  return next;
}

}  // namespace

std::vector<MonarchStep> run_steps(const StepShape& shape, std::int64_t num_iters, const Matrix& q,
                                   const Matrix& k) {
  std::vector<MonarchStep> steps;
  for (std::int64_t t = 0; t < num_iters; ++t) {
    steps.push_back(t == 0 ? first_step(shape, q) : next_step(shape, q, steps.back()));
    r_half(shape, num_iters, k, steps.back());
    l_half(shape, q, steps.back());
  }
  return steps;
}

Matrix reduce_values(const StepShape& shape, const MonarchStep& last, const Matrix& v) {
  Matrix y(shape.num_rows(), shape.head_dim);
  for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
    for (std::int64_t k = 0; k < shape.block_rows; ++k) {
      for (std::int64_t j = 0; j < shape.block_cols; ++j) {
        for (std::int64_t l = 0; l < shape.block_cols; ++l) {
          add_scaled(last.r[shape.fkj(f, k, j)][l], v[shape.fkj(f, k, l)], y[shape.fjk(f, j, k)]);
        }
      }
    }
  }
  return y;
}

}  // namespace monarch::attention::reference
