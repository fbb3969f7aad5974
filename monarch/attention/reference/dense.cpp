#include "monarch/attention/reference/dense.h"

#include "monarch/attention/reference/head_matrix.h"

namespace monarch::attention::reference {
namespace {

void check(const DenseProblem& problem, const ConstTensorView& q, const ConstTensorView& k,
           const ConstTensorView& v) {
  validate(problem);
  check_tensor(q, "q", problem.batch, problem.q_tokens, problem.num_heads, problem.head_dim);
  check_tensor(k, "k", problem.batch, problem.kv_tokens, problem.num_heads, problem.head_dim);
  check_tensor(v, "v", problem.batch, problem.kv_tokens, problem.num_heads, problem.head_dim);
}

// P[t, :] over the visible keys.
std::vector<double> weights(const DenseProblem& problem, std::int64_t token, const Matrix& q,
                            const Matrix& k) {
  std::vector<double> scores(static_cast<std::size_t>(problem.visible_keys(token)));
  for (std::size_t u = 0; u < scores.size(); ++u) {
    scores[u] = problem.scale() * dot(q[token], k[static_cast<std::int64_t>(u)]);
  }
  softmax_in_place(scores);
  return scores;
}

}  // namespace

void dense_forward(const DenseProblem& problem, const ConstTensorView& q, const ConstTensorView& k,
                   const ConstTensorView& v, const TensorView& out) {
  check(problem, q, k, v);
  check_tensor(read_only(out), "out", problem.batch, problem.q_tokens, problem.num_heads,
               problem.head_dim);
  for (std::int64_t batch = 0; batch < problem.batch; ++batch) {
    for (std::int64_t head = 0; head < problem.num_heads; ++head) {
      const Matrix q_head = load_head(q, batch, head);
      const Matrix k_head = load_head(k, batch, head);
      const Matrix v_head = load_head(v, batch, head);
      Matrix result(problem.q_tokens, problem.head_dim);
      for (std::int64_t t = 0; t < problem.q_tokens; ++t) {
        const std::vector<double> p = weights(problem, t, q_head, k_head);
        for (std::size_t u = 0; u < p.size(); ++u) {
          add_scaled(p[u], v_head[static_cast<std::int64_t>(u)], result[t]);
        }
      }
      store_head(result, out, batch, head);
    }
  }
}

void dense_backward(const DenseProblem& problem, const ConstTensorView& q, const ConstTensorView& k,
                    const ConstTensorView& v, const ConstTensorView& grad_out,
                    const TensorView& grad_q, const TensorView& grad_k, const TensorView& grad_v) {
  check(problem, q, k, v);
  check(problem, read_only(grad_q), read_only(grad_k), read_only(grad_v));
  check_tensor(grad_out, "grad_out", problem.batch, problem.q_tokens, problem.num_heads,
               problem.head_dim);
  for (std::int64_t batch = 0; batch < problem.batch; ++batch) {
    for (std::int64_t head = 0; head < problem.num_heads; ++head) {
      const Matrix q_head = load_head(q, batch, head);
      const Matrix k_head = load_head(k, batch, head);
      const Matrix v_head = load_head(v, batch, head);
      const Matrix g = load_head(grad_out, batch, head);
      Matrix dq(q_head.rows, q_head.cols);
      Matrix dk(k_head.rows, k_head.cols);
      Matrix dv(v_head.rows, v_head.cols);
      for (std::int64_t t = 0; t < problem.q_tokens; ++t) {
        const std::vector<double> p = weights(problem, t, q_head, k_head);
        std::vector<double> dp(p.size());
        double mean = 0;  // Σ_u P dP = G·O
        for (std::size_t u = 0; u < p.size(); ++u) {
          dp[u] = dot(g[t], v_head[static_cast<std::int64_t>(u)]);
          mean += p[u] * dp[u];
        }
        for (std::size_t index = 0; index < p.size(); ++index) {
          const auto u = static_cast<std::int64_t>(index);
          const double ds = problem.scale() * p[index] * (dp[index] - mean);
          add_scaled(p[index], g[t], dv[u]);
          add_scaled(ds, k_head[u], dq[t]);
          add_scaled(ds, q_head[t], dk[u]);
        }
      }
      store_head(dq, grad_q, batch, head);
      store_head(dk, grad_k, batch, head);
      store_head(dv, grad_v, batch, head);
    }
  }
}

void dense_cached_forward(const DenseProblem& problem, const CacheWrite& write,
                          const ConstTensorView& q, const TensorView& k_cache,
                          const TensorView& v_cache, const ConstTensorView& new_k,
                          const ConstTensorView& new_v, const TensorView& out) {
  validate(problem, write);
  check(problem, q, read_only(k_cache), read_only(v_cache));
  check_tensor(new_k, "new_k", problem.batch, write.num_tokens(), problem.num_heads,
               problem.head_dim);
  check_tensor(new_v, "new_v", problem.batch, write.num_tokens(), problem.num_heads,
               problem.head_dim);
  constexpr BlockLayout kTokenOrder;  // one token a block: positions are tokens
  copy_to_block_order(kTokenOrder, new_k, write.start, k_cache);
  copy_to_block_order(kTokenOrder, new_v, write.start, v_cache);
  dense_forward(problem, q, read_only(k_cache), read_only(v_cache), out);
}

}  // namespace monarch::attention::reference
