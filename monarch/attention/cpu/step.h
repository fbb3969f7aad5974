// One iteration of a Monarch factorisation as the kernels see it: what VMonarch and the refined
// MonarchRT have in common. In base 2, with q~ = s log2(e) Q:
//
//   queries (i, j), i < I, j < P, and keys (k, l), k < K, l < L; K a multiple of I
//   rows      R[k,j,l] = softmax_l( aR[k,j]·K[k,l] )         first: aR[k,j] = g(1) q~[k mod I, j]
//             aL[k,j] = Σ_l R K[k,l]     cL = Σ_l R log2 R     Y[k,j] = Σ_l R V[k,l]
//   columns   L[j,i,k] = softmax_k( q~[i,j]·aL[k,j] - cL[k,j] )        last: O[i,j] = Σ_k L Y[k,j]
//             else cR[k,j] = Σ_i L     aR[k,j] = g(cR) Σ_i L q~[i,j]     g(c) = 1 / max(c + a, b)
//
// VMonarch (arXiv 2601.22275) has one factorisation a head: I = K factor rows, P = L, a = 0, b =
// its c_r_min. MonarchRT (arXiv 2602.12271) has one for each query block, its K rows those of all
// key blocks one after the other: P = L, a = 1e-6, b = 1e-4; with one iteration g = 1. Columns know
// nothing of each other, so those of several query blocks may stand side by side: P = n L.
//
// Rows and columns are loops over independent tasks; what passes between them lies in arrays
// [P, K, ...] of float, so that a column's part is contiguous. Several units (heads, or query
// blocks of heads) are worked on at once; pointers are those of the first.
#pragma once

#include "monarch/attention/cpu/operand_types.h"

namespace monarch::attention::cpu {

struct StepArgs {
  Operand q;
  Operand k;
  Operand v;
  Result result;                           // forward, last
  const std::int64_t* q_tokens = nullptr;  // [blocks, I, P] token of a query
  const std::int64_t* k_tokens = nullptr;  // [K, L] token of a key
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t num_blocks = 1;  // query blocks a head; units count through batch, head and block
  std::int64_t first_unit = 0;
  std::int64_t unit_stride = 0;  // floats from a unit's arrays to the next unit's
  std::int64_t queries = 0;      // I
  std::int64_t rows = 0;         // K
  std::int64_t cols = 0;         // P
  std::int64_t keys = 0;         // L
  std::int64_t row_tiles = 1;    // tasks a row's queries are cut into, forward
  std::int64_t row_run = 1;      // i whose rows a task takes, one after the other
  std::int64_t column_run = 1;   // columns a task takes
  float scale_log2 = 0;          // s log2(e)
  float c_r_add = 0;             // a
  float c_r_min = 1;             // b
  bool first = false;
  bool last = false;

  float* a_r = nullptr;       // [P, K, D] unless first
  float* c_r = nullptr;       // [P, K], kept for the backward or null
  float* a_l = nullptr;       // [P, K, D]; the columns' backward leaves its gradient here
  float* c_l = nullptr;       // [P, K]; the columns' backward leaves its gradient here
  float* y = nullptr;         // [P, K, D] if last; likewise
  float* row_lse = nullptr;   // [K, P] log2 Σ_l of the rows' softmax, for the backward or null
  float* log_r = nullptr;     // [K, L, padded P] log2 R instead, where both fit a tile, or null
  float* next_a_r = nullptr;  // [P, K, D] forward, unless last
  float* next_c_r = nullptr;  // [P, K]    forward, unless last; or null

  // Backward only.
  Operand grad_out;
  Operand out;                 // with lse
  const float* lse = nullptr;  // [B, H, lse_stride] natural, where K is not all rows; or null
  std::int64_t lse_stride = 0;
  // Queries and what their softmaxes give, packed when fresh for the rows that follow; or null.
  float* q_cols = nullptr;        // [P, I, D] q~
  float* g_cols = nullptr;        // [P, I, D] G
  float* query_lse = nullptr;     // [P, padded I] in base 2
  float* mean = nullptr;          // [P, padded I] G·O
  std::int64_t zero_tokens = 0;   // tokens before this one have no gradient of O
  bool entropy_gradient = false;  // else cL is a constant
  bool fresh = false;             // dq is written for the first time
  std::int64_t grid = 1;          // groups that P queries and L keys of a row are cut into
  std::int64_t step = 0;          // < grid, as in DenseBackwardArgs
  float* da_r = nullptr;  // [P, K, D] g(cR) times the gradient of aR: written by rows unless first,
                          // read by columns unless last
  float* dc_r = nullptr;  // [P, K]    likewise
  float* delta = nullptr;  // [P, K]    Σ_l R x of the rows' softmax gradient: columns to rows
  float* dq = nullptr;     // [I, P, D] with respect to q~
  float* dk = nullptr;     // [K, L, D]; null: a row's gradients are complete and go to grad_k
  float* dv = nullptr;     // [K, L, D]; likewise, to grad_v
  Result grad_k;
  Result grad_v;
};

}  // namespace monarch::attention::cpu
