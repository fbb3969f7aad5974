// Monarch attention over a KV cache, forward and backward: the definition, in double.
//
// The caches [B, cache_frames * h * w, H, D] always lie in block order (layout.h). New keys and
// values arrive in token order and replace positions start..end-1 in place; then q attends to the
// whole cache, positions after `end` included. A caller that wants only frames up to `end` passes a
// shorter cache.
#pragma once

#include <optional>

#include "monarch/attention/problem.h"

namespace monarch::attention::reference {

void monarch_cached_forward(const MonarchProblem& problem, const CacheWrite& write,
                            const ConstTensorView& q,      // [B, Nq, H, D] token order
                            const TensorView& k_cache,     // [B, Nkv, H, D] block order, changed
                            const TensorView& v_cache,     // [B, Nkv, H, D] block order, changed
                            const ConstTensorView& new_k,  // [B, end-start, H, D] token order
                            const ConstTensorView& new_v,  // [B, end-start, H, D] token order
                            const TensorView& out);        // [B, Nq, H, D] token order

// Gradients with respect to the caches after the write, in block order, all positions.
struct CacheGradients {
  TensorView k_cache;  // [B, Nkv, H, D]
  TensorView v_cache;  // [B, Nkv, H, D]
};

// k_cache and v_cache as the forward left them. Old cache content is a constant unless
// cache_gradients are asked for.
void monarch_cached_backward(const MonarchProblem& problem, const CacheWrite& write,
                             const ConstTensorView& q, const ConstTensorView& k_cache,
                             const ConstTensorView& v_cache, const ConstTensorView& grad_out,
                             const TensorView& grad_q,      // [B, Nq, H, D] token order
                             const TensorView& grad_new_k,  // [B, end-start, H, D] token order
                             const TensorView& grad_new_v,  // [B, end-start, H, D] token order
                             const std::optional<CacheGradients>& cache_gradients = {});

}  // namespace monarch::attention::reference
