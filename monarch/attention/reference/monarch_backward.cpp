#include "monarch/attention/reference/monarch_backward.h"

#include <algorithm>
#include <utility>

#include "monarch/attention/reference/monarch_step.h"

namespace monarch::attention::reference {
namespace {

// dL -> dy: the softmax over (f, k) of each query (i, j).
Matrix softmax_backward(const StepShape& shape, const Matrix& l, const Matrix& dl) {
  Matrix dy(l.rows, l.cols);
  for (std::int64_t j = 0; j < shape.block_cols; ++j) {
    for (std::int64_t i = 0; i < shape.block_rows; ++i) {
      double mean = 0;
      for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
        for (std::int64_t k = 0; k < shape.block_rows; ++k) {
          const std::int64_t row = shape.fjk(f, j, k);
          mean += l[row][i] * dl[row][i];
        }
      }
      for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
        for (std::int64_t k = 0; k < shape.block_rows; ++k) {
          const std::int64_t row = shape.fjk(f, j, k);
          dy[row][i] = l[row][i] * (dl[row][i] - mean);
        }
      }
    }
  }
  return dy;
}

// What one iteration passes to the one before.
struct StepGradient {
  Matrix a_r;  // [F K J, D]
  Matrix c_r;  // [F K J, 1]
};

// One iteration backward. dy_values (dY [F J K, D]) and dv are null except for the last iteration.
// dq and dk are q', k'.
StepGradient step_backward(const StepShape& shape, bool scaled, const MonarchStep& step,
                           const Matrix& q, const Matrix& k_rows, const Matrix& v, const Matrix& dl,
                           const Matrix* dy_values, Matrix& dq, Matrix& dk, Matrix& dv) {
  const Matrix dy = softmax_backward(shape, step.l, dl);
  StepGradient gradient{Matrix(shape.num_rows(), shape.head_dim), Matrix(shape.num_rows(), 1)};
  std::vector<double> x(static_cast<std::size_t>(shape.block_cols));
  for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
    for (std::int64_t k = 0; k < shape.block_rows; ++k) {
      for (std::int64_t j = 0; j < shape.block_cols; ++j) {
        const std::int64_t row = shape.fkj(f, k, j);
        const std::int64_t l_row = shape.fjk(f, j, k);
        std::vector<double> da_l(static_cast<std::size_t>(shape.head_dim));
        double dc_l = 0;
        for (std::int64_t i = 0; i < shape.block_rows; ++i) {
          const std::int64_t query = i * shape.block_cols + j;
          add_scaled(dy[l_row][i], step.a_l[l_row], dq[query]);
          add_scaled(dy[l_row][i], q[query], da_l);
          dc_l -= dy[l_row][i];
        }
        double mean = 0;  // Σ_l R x
        for (std::int64_t l = 0; l < shape.block_cols; ++l) {
          x[l] = dot(da_l, k_rows[shape.fkj(f, k, l)]) + dc_l * step.log_r[row][l];
          if (dy_values != nullptr) x[l] += dot((*dy_values)[l_row], v[shape.fkj(f, k, l)]);
          mean += step.r[row][l] * x[l];
        }
        const double g = step.g[row][0];
        double dg = 0;
        for (std::int64_t l = 0; l < shape.block_cols; ++l) {
          const std::int64_t key = shape.fkj(f, k, l);
          const double r = step.r[row][l];
          const double dz = r * (x[l] - mean);
          add_scaled(r, da_l, dk[key]);
          add_scaled(g * dz, step.a_r[row], dk[key]);
          add_scaled(g * dz, k_rows[key], gradient.a_r[row]);
          dg += dz * dot(step.a_r[row], k_rows[key]);
          if (dy_values != nullptr) add_scaled(r, (*dy_values)[l_row], dv[key]);
        }
        const double inverse = 1.0 / (step.c_r[row][0] + kCrEpsilon);
        gradient.c_r[row][0] = scaled && inverse <= kMaxInverseCr ? -inverse * inverse * dg : 0.0;
      }
    }
  }
  return gradient;
}

void block_backward(const StepShape& shape, std::int64_t num_iters, const Matrix& q,
                    const Matrix& k, const Matrix& v, const Matrix& grad_out, Matrix& dq,
                    Matrix& dk, Matrix& dv) {
  const std::vector<MonarchStep> steps = run_steps(shape, num_iters, q, k);
  const Matrix y = reduce_values(shape, steps.back(), v);
  Matrix dy_values(shape.num_rows(), shape.head_dim);  // dY
  Matrix dl(shape.num_rows(), shape.block_rows);
  for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
    for (std::int64_t j = 0; j < shape.block_cols; ++j) {
      for (std::int64_t row_k = 0; row_k < shape.block_rows; ++row_k) {
        const std::int64_t row = shape.fjk(f, j, row_k);
        for (std::int64_t i = 0; i < shape.block_rows; ++i) {
          const std::int64_t query = i * shape.block_cols + j;
          add_scaled(steps.back().l[row][i], grad_out[query], dy_values[row]);
          dl[row][i] = dot(grad_out[query], y[row]);
        }
      }
    }
  }
  for (std::int64_t t = num_iters - 1; t >= 0; --t) {
    const bool last = t == num_iters - 1;
    const StepGradient gradient = step_backward(shape, num_iters > 1, steps[t], q, k, v, dl,
                                                last ? &dy_values : nullptr, dq, dk, dv);
    for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
      for (std::int64_t row_k = 0; row_k < shape.block_rows; ++row_k) {
        for (std::int64_t j = 0; j < shape.block_cols; ++j) {
          const std::int64_t row = shape.fkj(f, row_k, j);
          if (t == 0) {  // aR was the query of block row k
            add_scaled(1.0, gradient.a_r[row], dq[row_k * shape.block_cols + j]);
            continue;
          }
          const std::int64_t l_row = shape.fjk(f, j, row_k);
          for (std::int64_t i = 0; i < shape.block_rows; ++i) {
            const std::int64_t query = i * shape.block_cols + j;
            add_scaled(steps[t - 1].l[l_row][i], gradient.a_r[row], dq[query]);
            dl[l_row][i] = dot(q[query], gradient.a_r[row]) + gradient.c_r[row][0];
          }
        }
      }
    }
  }
}

}  // namespace

void monarch_backward_to_sink(const MonarchProblem& problem, const ConstTensorView& q,
                              const ConstTensorView& k, const ConstTensorView& v,
                              const ConstTensorView& grad_out, const TensorView& grad_q,
                              const KvGradientSink& sink) {
  validate(problem);
  const auto check_q = [&](const ConstTensorView& tensor, std::string_view name) {
    check_tensor(tensor, name, problem.batch, problem.q_tokens(), problem.num_heads,
                 problem.head_dim);
  };
  check_q(q, "q");
  check_tensor(k, "k", problem.batch, problem.kv_tokens(), problem.num_heads, problem.head_dim);
  check_tensor(v, "v", problem.batch, problem.kv_tokens(), problem.num_heads, problem.head_dim);
  check_q(grad_out, "grad_out");
  check_q(read_only(grad_q), "grad_q");

  const BlockLayout layout = problem.layout();
  const TokenOf block_order = token_of_position(layout);
  const TokenOf kv_order = problem.kv_block_order ? TokenOf{} : block_order;
  const double root_scale = std::sqrt(problem.scale());
  for (std::int64_t batch = 0; batch < problem.batch; ++batch) {
    for (std::int64_t head = 0; head < problem.num_heads; ++head) {
      const Matrix q_head = load_head(q, batch, head, block_order, root_scale);
      const Matrix k_head = load_head(k, batch, head, kv_order, root_scale);
      const Matrix v_head = load_head(v, batch, head, kv_order);
      const Matrix g_head = load_head(grad_out, batch, head, block_order);
      Matrix dq(q_head.rows, q_head.cols);
      Matrix dk(k_head.rows, k_head.cols);
      Matrix dv(v_head.rows, v_head.cols);
      for (std::int64_t a = 0; a < problem.num_q_blocks(); ++a) {
        const StepShape shape{problem.visible_blocks(a), layout.block_rows(), layout.block_cols(),
                              problem.head_dim};
        const std::int64_t first = a * layout.block_tokens();
        Matrix dq_block(layout.block_tokens(), problem.head_dim);
        block_backward(shape, problem.num_iters, slice_rows(q_head, first, dq_block.rows), k_head,
                       v_head, slice_rows(g_head, first, dq_block.rows), dq_block, dk, dv);
        std::ranges::copy(dq_block.values, dq.values.begin() + first * problem.head_dim);
      }
      for (double& value : dk.values) value *= root_scale;
      store_head(dq, grad_q, batch, head, block_order, root_scale);
      sink(batch, head, dk, dv);
    }
  }
}

void monarch_backward(const MonarchProblem& problem, const ConstTensorView& q,
                      const ConstTensorView& k, const ConstTensorView& v,
                      const ConstTensorView& grad_out, const TensorView& grad_q,
                      const TensorView& grad_k, const TensorView& grad_v) {
  for (const auto& [view, name] : {std::pair{&grad_k, "grad_k"}, {&grad_v, "grad_v"}}) {
    check_tensor(read_only(*view), name, problem.batch, problem.kv_tokens(), problem.num_heads,
                 problem.head_dim);
  }
  const TokenOf kv_order = problem.kv_block_order ? TokenOf{} : token_of_position(problem.layout());
  monarch_backward_to_sink(
      problem, q, k, v, grad_out, grad_q,
      [&](std::int64_t batch, std::int64_t head, const Matrix& dk, const Matrix& dv) {
        store_head(dk, grad_k, batch, head, kv_order);
        store_head(dv, grad_v, batch, head, kv_order);
      });
}

}  // namespace monarch::attention::reference
