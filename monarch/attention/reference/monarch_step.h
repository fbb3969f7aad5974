// One refinement iteration of Monarch attention for one query block, its intermediates kept: what
// forward and backward of the reference are made of.
//
//   q' = sqrt(s) Q [I,J,D] of block a     k' = sqrt(s) K [F,K,L,D]     i,k < I = block_rows   j,l <
//   J = block_cols R half   z_l = g aR[f,k,j]·k'[f,k,l]        R[f,k,j,l] = softmax_l(z)
//            aL[f,j,k] = Σ_l R k'[f,k,l]        cL[f,j,k] = Σ_l R log R
//   L half   L[f,j,k,i] = softmax_{f,k}( q'[i,j]·aL[f,j,k] - cL[f,j,k] )
//   next     aR[f,k,j] = Σ_i L[f,j,k,i] q'[i,j]          cR[f,k,j] = Σ_i L[f,j,k,i]
//   The first iteration starts from aR[f,k,j] = q'[k,j], cR = 1.
//   g = 1 if there is one iteration in all, else min(1 / (cR + 1e-6), 1e4) in every iteration.
#pragma once

#include "monarch/attention/reference/head_matrix.h"

namespace monarch::attention::reference {

inline constexpr double kCrEpsilon = 1e-6;
inline constexpr double kMaxInverseCr = 1e4;

// Sizes of one query block against its visible key blocks, and the row of each intermediate.
struct StepShape {
  std::int64_t num_kv_blocks = 0;  // F
  std::int64_t block_rows = 0;     // I = K
  std::int64_t block_cols = 0;     // J = L
  std::int64_t head_dim = 0;

  std::int64_t fkj(std::int64_t f, std::int64_t k, std::int64_t j) const {
    return (f * block_rows + k) * block_cols + j;
  }
  std::int64_t fjk(std::int64_t f, std::int64_t j, std::int64_t k) const {
    return (f * block_cols + j) * block_rows + k;
  }
  std::int64_t num_rows() const { return num_kv_blocks * block_rows * block_cols; }
};

struct MonarchStep {
  Matrix a_r;    // [F K J, D]
  Matrix c_r;    // [F K J, 1]
  Matrix g;      // [F K J, 1]
  Matrix r;      // [F K J, L]
  Matrix log_r;  // [F K J, L]
  Matrix a_l;    // [F J K, D]
  Matrix c_l;    // [F J K, 1]
  Matrix l;      // [F J K, I]
};

// q: rows of the query block [I J, D]; k: [F K L, D]; both scaled by sqrt(s). Returns all
// iterations, the last at the back.
std::vector<MonarchStep> run_steps(const StepShape& shape, std::int64_t num_iters, const Matrix& q,
                                   const Matrix& k);

// Y[f,j,k] = Σ_l R[f,k,j,l] V[f,k,l]: [F J K, D].
Matrix reduce_values(const StepShape& shape, const MonarchStep& last, const Matrix& v);

}  // namespace monarch::attention::reference
