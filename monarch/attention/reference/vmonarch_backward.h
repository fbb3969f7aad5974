// VMonarch, backward, with the entropy H held constant (the published training rule). In double.
//
// With G = d loss / d O, rows of recomputed queries taken out of it, and the notation of
// vmonarch_step.h:
//   dY[k,j] = Σ_i L G[i,j]                   dL[j,i,k] = G[i,j]·Y[k,j]                      (last
//   iteration) for t = T .. 1:
//     dw         = L (dL - Σ_k L dL)
//     dq[i,j]   += s Σ_k dw aL[k,j]           daL[k,j] = s Σ_i dw q[i,j]                    (H: no
//     gradient) x_l        = daL·k[k,l] + (t = T: dY·v[k,l]) dz_l       = R (x_l - Σ_l R x_l)
//     dv[k,l] += R dY   (t = T) g          = s / max(cR, c_r_min) dk[k,l]   += R daL + g dz_l aR
//     daR = g Σ_l dz_l k[k,l] dcR        = -[cR >= c_r_min] (g / cR) Σ_l dz_l aR·k[k,l] t = 1:
//     dq[k,j] += daR t > 1:  with L of iteration t-1: dq[i,j] += Σ_k L daR[k,j],   dL[j,i,k] =
//     q[i,j]·daR[k,j] + dcR[k,j]
//   Recomputed queries: the dense backward of their outputs, added.
#pragma once

#include "monarch/attention/problem.h"

namespace monarch::attention::reference {

// All gradients are overwritten.
void vmonarch_backward(const VMonarchProblem& problem, const ConstTensorView& q,
                       const ConstTensorView& k, const ConstTensorView& v,
                       const ConstTensorView& grad_out, const TensorView& grad_q,
                       const TensorView& grad_k, const TensorView& grad_v);

}  // namespace monarch::attention::reference
