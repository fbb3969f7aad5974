#include "monarch/attention/reference/vmonarch_forward.h"

#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/vmonarch_step.h"

namespace monarch::attention::reference {
namespace {

template <typename View>
View first_tokens(View view, std::int64_t count) {
  view.shape[1] = count;
  return view;
}

}  // namespace

void vmonarch_forward(const VMonarchProblem& problem, const ConstTensorView& q,
                      const ConstTensorView& k, const ConstTensorView& v, const TensorView& out,
                      const std::optional<VMonarchIntermediates>& intermediates) {
  validate(problem);
  const std::int64_t tokens = problem.num_tokens();
  const auto check = [&](const ConstTensorView& tensor, std::string_view name, std::int64_t width) {
    check_tensor(tensor, name, problem.batch, tokens, problem.num_heads, width);
  };
  check(q, "q", problem.head_dim);
  check(k, "k", problem.head_dim);
  check(v, "v", problem.head_dim);
  check(read_only(out), "out", problem.head_dim);
  if (intermediates) {
    check(read_only(intermediates->entropy), "entropy", 1);
    check(read_only(intermediates->a_l), "a_l", problem.head_dim);
  }
  const SplitLayout layout = problem.layout();
  const TokenOf order = token_of_position(layout);
  const std::int64_t cols = layout.num_cols();
  for (std::int64_t batch = 0; batch < problem.batch; ++batch) {
    for (std::int64_t head = 0; head < problem.num_heads; ++head) {
      const Matrix q_head = load_head(q, batch, head, order);
      const Matrix k_head = load_head(k, batch, head, order);
      const Matrix v_head = load_head(v, batch, head, order);
      const VMonarchStep last = run_vmonarch(problem, q_head, k_head).back();
      const Matrix y = vmonarch_values(problem, last, v_head);
      Matrix result(tokens, problem.head_dim);
      for (std::int64_t row = 0; row < tokens; ++row) {
        for (std::int64_t row_k = 0; row_k < layout.num_rows(); ++row_k) {
          add_scaled(last.l[row][row_k], y[row_k * cols + row % cols], result[row]);
        }
      }
      store_head(result, out, batch, head, order);
      if (intermediates) {
        store_head(last.entropy, intermediates->entropy, batch, head);
        store_head(last.a_l, intermediates->a_l, batch, head);
      }
    }
  }
  if (const std::int64_t count = num_recomputed(problem); count > 0) {
    const DenseProblem dense{problem.batch, problem.num_heads, problem.head_dim, count,
                             tokens,        problem.scale()};
    dense_forward(dense, first_tokens(q, count), k, v, first_tokens(out, count));
  }
}

}  // namespace monarch::attention::reference
