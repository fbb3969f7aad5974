// VMonarch (arXiv 2601.22275), forward: one Monarch factorisation over the whole video. The
// definition, in double.
//
//   Q,K,V [m,P,D]   R [k,j,l], L [j,i,k] by the iterations of vmonarch_step.h
//   Y[k,j] = Σ_l R v[k,l]                  O[i,j] = Σ_k L[j,i,k] Y[k,j]
//   With recompute_first_frame the first height * width tokens' outputs are exact softmax attention
//   over all keys.
#pragma once

#include <optional>

#include "monarch/attention/problem.h"

namespace monarch::attention::reference {

// Intermediates of the last iteration, in the order of the problem's split.
struct VMonarchIntermediates {
  TensorView entropy;  // H  [B, m P, H, 1]
  TensorView a_l;      // aL [B, m P, H, D]
};

void vmonarch_forward(const VMonarchProblem& problem,
                      const ConstTensorView& q,  // [B, N, H, D] token order
                      const ConstTensorView& k,  // [B, N, H, D]
                      const ConstTensorView& v,  // [B, N, H, D]
                      const TensorView& out,     // [B, N, H, D]
                      const std::optional<VMonarchIntermediates>& intermediates = {});

}  // namespace monarch::attention::reference
