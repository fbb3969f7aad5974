#include "monarch/attention/reference/monarch_cached.h"

#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/monarch_forward.h"

namespace monarch::attention::reference {
namespace {

void check_new(const MonarchProblem& problem, const CacheWrite& write,
               const ConstTensorView& tensor, std::string_view name) {
  check_tensor(tensor, name, problem.batch, write.num_tokens(), problem.num_heads,
               problem.head_dim);
}

}  // namespace

void monarch_cached_forward(const MonarchProblem& problem, const CacheWrite& write,
                            const ConstTensorView& q, const TensorView& k_cache,
                            const TensorView& v_cache, const ConstTensorView& new_k,
                            const ConstTensorView& new_v, const TensorView& out) {
  validate(problem, write);
  check_new(problem, write, new_k, "new_k");
  check_new(problem, write, new_v, "new_v");
  copy_to_block_order(problem.layout(), new_k, write.start, k_cache);
  copy_to_block_order(problem.layout(), new_v, write.start, v_cache);
  monarch_forward(problem, q, read_only(k_cache), read_only(v_cache), out);
}

void monarch_cached_backward(const MonarchProblem& problem, const CacheWrite& write,
                             const ConstTensorView& q, const ConstTensorView& k_cache,
                             const ConstTensorView& v_cache, const ConstTensorView& grad_out,
                             const TensorView& grad_q, const TensorView& grad_new_k,
                             const TensorView& grad_new_v,
                             const std::optional<CacheGradients>& cache_gradients) {
  validate(problem, write);
  check_new(problem, write, read_only(grad_new_k), "grad_new_k");
  check_new(problem, write, read_only(grad_new_v), "grad_new_v");
  const TokenOf block_order = token_of_position(problem.layout());
  monarch_backward_to_sink(
      problem, q, k_cache, v_cache, grad_out, grad_q,
      [&](std::int64_t batch, std::int64_t head, const Matrix& dk, const Matrix& dv) {
        // Groups of f_tied frames are whole in both orders, so the slice reorders on its own.
        const std::int64_t count = write.num_tokens();
        store_head(slice_rows(dk, write.start, count), grad_new_k, batch, head, block_order);
        store_head(slice_rows(dv, write.start, count), grad_new_v, batch, head, block_order);
        if (cache_gradients) {
          store_head(dk, cache_gradients->k_cache, batch, head);
          store_head(dv, cache_gradients->v_cache, batch, head);
        }
      });
}

}  // namespace monarch::attention::reference
