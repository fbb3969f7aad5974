// One iteration of VMonarch, its intermediates kept: what forward and backward of the reference are
// made of.
//
//   Tokens split in (i, j): i, k < m = num_rows, j, l < P = num_cols.     s = softmax scale
//   aR[k,j] = Σ_i L[j,i,k] q[i,j]          cR[k,j] = Σ_i L[j,i,k]          (first iteration:
//   L[j,i,k] = [i = k]) R[k,j,l] = softmax_l( s aR[k,j]·k[k,l] / max(cR[k,j], c_r_min) ) aL[k,j] =
//   Σ_l R k[k,l]                 H[k,j] = -Σ_l R log R L[j,i,k] = softmax_k( s q[i,j]·aL[k,j] +
//   H[k,j] )
#pragma once

#include "monarch/attention/problem.h"
#include "monarch/attention/reference/head_matrix.h"

namespace monarch::attention::reference {

struct VMonarchStep {
  Matrix a_r;      // [m P, D]
  Matrix c_r;      // [m P, 1]
  Matrix r;        // [m P, P]
  Matrix a_l;      // [m P, D]
  Matrix entropy;  // [m P, 1]   H
  Matrix l;        // [m P, m]   row i P + j holds L[j,i,:]
};

// q, k: [m P, D] in the order of the problem's split, unscaled. Returns all iterations, the last at
// the back.
std::vector<VMonarchStep> run_vmonarch(const VMonarchProblem& problem, const Matrix& q,
                                       const Matrix& k);

// Y[k,j] = Σ_l R[k,j,l] v[k,l]: [m P, D].
Matrix vmonarch_values(const VMonarchProblem& problem, const VMonarchStep& last, const Matrix& v);

// Number of queries, in token order, that get exact attention: the first frame's, or none.
inline std::int64_t num_recomputed(const VMonarchProblem& problem) {
  return problem.recompute_first_frame ? problem.height * problem.width : 0;
}

}  // namespace monarch::attention::reference
