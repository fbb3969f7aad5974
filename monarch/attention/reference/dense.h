// Dense softmax attention: the definition, in double.
//
//   S [t,u]  = s Q[t]·K[u]      for visible keys u (problem.h); P = softmax_u(S)
//   O [t]    = Σ_u P[t,u] V[u]
//   With G = d loss / d O:
//   dV[u]    = Σ_t P[t,u] G[t]
//   dS[t,u]  = P[t,u] (G[t]·V[u] - G[t]·O[t])
//   dQ[t]    = s Σ_u dS[t,u] K[u]         dK[u] = s Σ_t dS[t,u] Q[t]
#pragma once

#include "monarch/attention/problem.h"

namespace monarch::attention::reference {

void dense_forward(const DenseProblem& problem,
                   const ConstTensorView& q,  // [B, Nq, H, D]
                   const ConstTensorView& k,  // [B, Nkv, H, D]
                   const ConstTensorView& v,  // [B, Nkv, H, D]
                   const TensorView& out);    // [B, Nq, H, D]

void dense_backward(const DenseProblem& problem, const ConstTensorView& q, const ConstTensorView& k,
                    const ConstTensorView& v, const ConstTensorView& grad_out,
                    const TensorView& grad_q, const TensorView& grad_k, const TensorView& grad_v);

// Writes new_k, new_v [B, end-start, H, D] to positions start..end-1 of the caches [B, Nkv, H, D],
// in place and in token order, then attends q to the whole cache.
void dense_cached_forward(const DenseProblem& problem, const CacheWrite& write,
                          const ConstTensorView& q, const TensorView& k_cache,
                          const TensorView& v_cache, const ConstTensorView& new_k,
                          const ConstTensorView& new_v, const TensorView& out);

}  // namespace monarch::attention::reference
