// Monarch attention (MonarchRT, arXiv 2602.12271), forward, any number of refinement iterations:
// the definition, in double.
//
//   Q [A,I,J,D]   K,V [F,K,L,D]   blocks a of the queries, f of the keys; block rows i,k; block
//   columns j,l (layout.h) R [a,f,k,j,l] and L [a,f,j,k,i] by the iterations of monarch_step.h Y
//   [a,f,j,k] = Σ_l R V[f,k,l]           O [a,i,j] = Σ_{f,k} L[a,f,j,k,i] Y[a,f,j,k] The implied
//   weight of query (a,i,j) on key (f,k,l) is L[a,f,j,k,i] R[a,f,k,j,l]; each query's weights sum
//   to one.
#pragma once

#include "monarch/attention/problem.h"
#include "monarch/attention/reference/monarch_step.h"

namespace monarch::attention::reference {

// Called once a (batch, head, query block) with all iterations and Y, for tests and attention-map
// pictures.
using MonarchObserver = std::function<void(std::int64_t batch, std::int64_t head,
                                           std::int64_t q_block, const StepShape& shape,
                                           const std::vector<MonarchStep>& steps, const Matrix& y)>;

// problem.block_causal_size restricts the key blocks; problem.kv_block_order says how k and v lie.
void monarch_forward(const MonarchProblem& problem,
                     const ConstTensorView& q,  // [B, Nq, H, D] token order
                     const ConstTensorView& k,  // [B, Nkv, H, D]
                     const ConstTensorView& v,  // [B, Nkv, H, D]
                     const TensorView& out,     // [B, Nq, H, D] token order
                     const MonarchObserver& observer = {});

}  // namespace monarch::attention::reference
