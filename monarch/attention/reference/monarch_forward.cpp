#include "monarch/attention/reference/monarch_forward.h"

namespace monarch::attention::reference {

void monarch_forward(const MonarchProblem& problem, const ConstTensorView& q,
                     const ConstTensorView& k, const ConstTensorView& v, const TensorView& out,
                     const MonarchObserver& observer) {
  validate(problem);
  check_tensor(q, "q", problem.batch, problem.q_tokens(), problem.num_heads, problem.head_dim);
  check_tensor(k, "k", problem.batch, problem.kv_tokens(), problem.num_heads, problem.head_dim);
  check_tensor(v, "v", problem.batch, problem.kv_tokens(), problem.num_heads, problem.head_dim);
  check_tensor(read_only(out), "out", problem.batch, problem.q_tokens(), problem.num_heads,
               problem.head_dim);
  const BlockLayout layout = problem.layout();
  const TokenOf block_order = token_of_position(layout);
  const TokenOf kv_order = problem.kv_block_order ? TokenOf{} : block_order;
  const double root_scale = std::sqrt(problem.scale());

  for (std::int64_t batch = 0; batch < problem.batch; ++batch) {
    for (std::int64_t head = 0; head < problem.num_heads; ++head) {
      const Matrix q_head = load_head(q, batch, head, block_order, root_scale);
      const Matrix k_head = load_head(k, batch, head, kv_order, root_scale);
      const Matrix v_head = load_head(v, batch, head, kv_order);
      Matrix result(problem.q_tokens(), problem.head_dim);
      for (std::int64_t a = 0; a < problem.num_q_blocks(); ++a) {
        const StepShape shape{problem.visible_blocks(a), layout.block_rows(), layout.block_cols(),
                              problem.head_dim};
        const std::int64_t first = a * layout.block_tokens();
        const Matrix q_block = slice_rows(q_head, first, layout.block_tokens());
        const std::vector<MonarchStep> steps = run_steps(shape, problem.num_iters, q_block, k_head);
        const Matrix y = reduce_values(shape, steps.back(), v_head);
        for (std::int64_t i = 0; i < shape.block_rows; ++i) {
          for (std::int64_t j = 0; j < shape.block_cols; ++j) {
            for (std::int64_t f = 0; f < shape.num_kv_blocks; ++f) {
              for (std::int64_t row_k = 0; row_k < shape.block_rows; ++row_k) {
                const std::int64_t row = shape.fjk(f, j, row_k);
                add_scaled(steps.back().l[row][i], y[row],
                           result[first + i * shape.block_cols + j]);
              }
            }
          }
        }
        if (observer) observer(batch, head, a, shape, steps, y);
      }
      store_head(result, out, batch, head, block_order);
    }
  }
}

}  // namespace monarch::attention::reference
