// Monarch attention, backward: the gradient of everything monarch_forward.h computes, nothing
// detached. In double.
//
// With G = d loss / d O and the notation of monarch_step.h (q', k' scaled by sqrt(s)):
//   dY[a,f,j,k] = Σ_i L G[a,i,j]                       dL[a,f,j,k,i] = G[a,i,j]·Y[a,f,j,k] (last
//   iteration) for t = T .. 1:
//     dy           = L (dL - Σ_{f,k} L dL)             dq'[a,i,j] += Σ_{f,k} dy aL
//     daL          = Σ_i dy q'[a,i,j]                  dcL = -Σ_i dy
//     x_l          = daL·k'[f,k,l] + dcL log R_l  + (t = T: dY·V[f,k,l])
//     dz_l         = R_l (x_l - Σ_l R_l x_l)           dV[f,k,l] += R_l dY   (t = T)
//     dk'[f,k,l]  += R_l daL + g dz_l aR
//     daR          = g Σ_l dz_l k'[f,k,l]              dcR = (dg/dcR) Σ_l dz_l aR·k'[f,k,l]
//     t = 1:  dq'[a,k,j] += Σ_f daR
//     t > 1:  with L of iteration t-1: dq'[a,i,j] += Σ_{f,k} L daR,   dL[a,f,j,k,i] = q'[a,i,j]·daR
//     + dcR
//   dg/dcR = -1/(cR + 1e-6)^2 below the limit of g, else 0.       dQ = sqrt(s) dq', dK = sqrt(s)
//   dk'
#pragma once

#include "monarch/attention/problem.h"
#include "monarch/attention/reference/head_matrix.h"

namespace monarch::attention::reference {

// grad_k and grad_v lie as k and v do (problem.kv_block_order); all gradients are overwritten.
void monarch_backward(const MonarchProblem& problem, const ConstTensorView& q,
                      const ConstTensorView& k, const ConstTensorView& v,
                      const ConstTensorView& grad_out, const TensorView& grad_q,
                      const TensorView& grad_k, const TensorView& grad_v);

// The same, handing dK and dV [Nkv, D] of each (batch, head) over in block order: what the KV
// cache's backward cuts up.
using KvGradientSink =
    std::function<void(std::int64_t batch, std::int64_t head, const Matrix& dk, const Matrix& dv)>;
void monarch_backward_to_sink(const MonarchProblem& problem, const ConstTensorView& q,
                              const ConstTensorView& k, const ConstTensorView& v,
                              const ConstTensorView& grad_out, const TensorView& grad_q,
                              const KvGradientSink& sink);

}  // namespace monarch::attention::reference
