#include "monarch/attention/reference/vmonarch_backward.h"

#include <algorithm>

#include "monarch/attention/reference/vmonarch_step.h"

namespace monarch::attention::reference {
namespace {

struct Gradients {
  Matrix q;
  Matrix k;
  Matrix v;
};

// One iteration; dy_values (dY) is null except for the last. Leaves daR, dcR in the arguments.
void step_backward(const VMonarchProblem& problem, const VMonarchStep& step, const Matrix& q,
                   const Matrix& k, const Matrix& v, const Matrix& dl, const Matrix* dy_values,
                   Gradients& gradients, Matrix& da_r, Matrix& dc_r) {
  const std::int64_t m = problem.layout().num_rows();
  const std::int64_t cols = problem.layout().num_cols();
  const double scale = problem.scale();
  Matrix da_l(q.rows, q.cols);
  for (std::int64_t row = 0; row < q.rows; ++row) {
    const std::int64_t j = row % cols;
    const double mean = dot(step.l[row], dl[row]);
    for (std::int64_t row_k = 0; row_k < m; ++row_k) {
      const double dw = scale * step.l[row][row_k] * (dl[row][row_k] - mean);
      add_scaled(dw, step.a_l[row_k * cols + j], gradients.q[row]);
      add_scaled(dw, q[row], da_l[row_k * cols + j]);
    }
  }
  da_r = Matrix(q.rows, q.cols);
  dc_r = Matrix(q.rows, 1);
  std::vector<double> x(static_cast<std::size_t>(cols));
  for (std::int64_t row = 0; row < q.rows; ++row) {
    const std::int64_t first_key = row / cols * cols;
    const std::span<const double> r = step.r[row];
    double mean = 0;
    for (std::int64_t l = 0; l < cols; ++l) {
      x[l] = dot(da_l[row], k[first_key + l]);
      if (dy_values != nullptr) x[l] += dot((*dy_values)[row], v[first_key + l]);
      mean += r[l] * x[l];
    }
    const double c_r = step.c_r[row][0];
    const double g = scale / std::max(c_r, problem.c_r_min);
    double dg = 0;  // with respect to the inverse of the clamped cR, times s
    for (std::int64_t l = 0; l < cols; ++l) {
      const double dz = r[l] * (x[l] - mean);
      add_scaled(r[l], da_l[row], gradients.k[first_key + l]);
      add_scaled(g * dz, step.a_r[row], gradients.k[first_key + l]);
      add_scaled(g * dz, k[first_key + l], da_r[row]);
      dg += dz * dot(step.a_r[row], k[first_key + l]);
      if (dy_values != nullptr) add_scaled(r[l], (*dy_values)[row], gradients.v[first_key + l]);
    }
    dc_r[row][0] = c_r >= problem.c_r_min ? -g / c_r * dg : 0.0;
  }
}

// The factorised part of one head; everything in the order of the split.
void head_backward(const VMonarchProblem& problem, const Matrix& q, const Matrix& k,
                   const Matrix& v, const Matrix& grad_out, Gradients& gradients) {
  const std::int64_t m = problem.layout().num_rows();
  const std::int64_t cols = problem.layout().num_cols();
  const std::vector<VMonarchStep> steps = run_vmonarch(problem, q, k);
  const Matrix y = vmonarch_values(problem, steps.back(), v);
  Matrix dy_values(q.rows, q.cols);
  Matrix dl(q.rows, m);
  for (std::int64_t row = 0; row < q.rows; ++row) {
    for (std::int64_t row_k = 0; row_k < m; ++row_k) {
      const std::int64_t source = row_k * cols + row % cols;
      add_scaled(steps.back().l[row][row_k], grad_out[row], dy_values[source]);
      dl[row][row_k] = dot(grad_out[row], y[source]);
    }
  }
  Matrix da_r;
  Matrix dc_r;
  for (std::int64_t t = problem.num_iters - 1; t >= 0; --t) {
    const bool last = t == problem.num_iters - 1;
    step_backward(problem, steps[t], q, k, v, dl, last ? &dy_values : nullptr, gradients, da_r,
                  dc_r);
    if (t == 0) {
      add_scaled(1.0, da_r.values, gradients.q.values);
      continue;
    }
    for (std::int64_t row = 0; row < q.rows; ++row) {
      for (std::int64_t row_k = 0; row_k < m; ++row_k) {
        const std::int64_t source = row_k * cols + row % cols;
        add_scaled(steps[t - 1].l[row][row_k], da_r[source], gradients.q[row]);
        dl[row][row_k] = dot(q[row], da_r[source]) + dc_r[source][0];
      }
    }
  }
}

// Exact attention of the first `count` queries (token order), added to the gradients.
void recomputed_backward(const VMonarchProblem& problem, std::int64_t count, const Matrix& q,
                         const Matrix& k, const Matrix& v, const Matrix& grad_out,
                         Gradients& gradients) {
  const double scale = problem.scale();
  for (std::int64_t t = 0; t < count; ++t) {
    std::vector<double> p(static_cast<std::size_t>(k.rows));
    std::vector<double> dp(p.size());
    for (std::int64_t u = 0; u < k.rows; ++u) {
      p[u] = scale * dot(q[t], k[u]);
      dp[u] = dot(grad_out[t], v[u]);
    }
    softmax_in_place(p);
    const double mean = dot(p, dp);
    for (std::int64_t u = 0; u < k.rows; ++u) {
      const double ds = scale * p[u] * (dp[u] - mean);
      add_scaled(p[u], grad_out[t], gradients.v[u]);
      add_scaled(ds, k[u], gradients.q[t]);
      add_scaled(ds, q[t], gradients.k[u]);
    }
  }
}

}  // namespace

void vmonarch_backward(const VMonarchProblem& problem, const ConstTensorView& q,
                       const ConstTensorView& k, const ConstTensorView& v,
                       const ConstTensorView& grad_out, const TensorView& grad_q,
                       const TensorView& grad_k, const TensorView& grad_v) {
  validate(problem);
  const std::int64_t tokens = problem.num_tokens();
  const auto check = [&](const ConstTensorView& tensor, std::string_view name) {
    check_tensor(tensor, name, problem.batch, tokens, problem.num_heads, problem.head_dim);
  };
  check(q, "q");
  check(k, "k");
  check(v, "v");
  check(grad_out, "grad_out");
  check(read_only(grad_q), "grad_q");
  check(read_only(grad_k), "grad_k");
  check(read_only(grad_v), "grad_v");

  const TokenOf order = token_of_position(problem.layout());
  const std::int64_t count = num_recomputed(problem);
  for (std::int64_t batch = 0; batch < problem.batch; ++batch) {
    for (std::int64_t head = 0; head < problem.num_heads; ++head) {
      // Everything in token order; the factorised part through a permuted copy.
      const Matrix q_head = load_head(q, batch, head);
      const Matrix k_head = load_head(k, batch, head);
      const Matrix v_head = load_head(v, batch, head);
      const Matrix g_head = load_head(grad_out, batch, head);
      const auto permuted = [&](const Matrix& matrix, std::int64_t zero_rows) {
        Matrix result(matrix.rows, matrix.cols);
        for (std::int64_t row = 0; row < matrix.rows; ++row) {
          if (const std::int64_t token = order(row); token >= zero_rows) {
            std::ranges::copy(matrix[token], result[row].begin());
          }
        }
        return result;
      };
      const Matrix zero(tokens, problem.head_dim);
      Gradients split_order{zero, zero, zero};
      head_backward(problem, permuted(q_head, 0), permuted(k_head, 0), permuted(v_head, 0),
                    permuted(g_head, count), split_order);
      Gradients gradients{zero, zero, zero};
      for (std::int64_t row = 0; row < tokens; ++row) {
        const std::int64_t token = order(row);
        std::ranges::copy(split_order.q[row], gradients.q[token].begin());
        std::ranges::copy(split_order.k[row], gradients.k[token].begin());
        std::ranges::copy(split_order.v[row], gradients.v[token].begin());
      }
      recomputed_backward(problem, count, q_head, k_head, v_head, g_head, gradients);
      store_head(gradients.q, grad_q, batch, head);
      store_head(gradients.k, grad_k, batch, head);
      store_head(gradients.v, grad_v, batch, head);
    }
  }
}

}  // namespace monarch::attention::reference
