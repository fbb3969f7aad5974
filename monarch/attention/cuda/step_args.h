// What the kernels of Monarch attention with several iterations are launched with: VMonarch (arXiv
// 2601.22275), and MonarchRT (arXiv 2602.12271) beyond its first.
//
// A unit is one query block of one head: queries (i, j) against key rows r of columns l, where j
// and l count the same columns. VMonarch has one block of all tokens.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda {

// n / inner * outer_stride + n % inner * inner_stride.
struct Axis {
  int inner = 1;
  int outer_stride = 0;
  int inner_stride = 0;
};

// Where a token lies: the sum of what its block, its row in the block and its column contribute.
struct TokenMap {
  int w_bands = 1;
  int w_stride = 0;
  int h_bands = 1;
  int h_stride = 0;
  int group_stride = 0;
  Axis row;
  Axis col;
};

struct StepArgs {
  Operand<const std::uint16_t> q;
  Operand<const std::uint16_t> k;
  Operand<const std::uint16_t> v;
  Operand<std::uint16_t> out;
  float* out_lse = nullptr;  // [B, H, Nq] or null: natural log-sum-exp of each query's last softmax
  int num_heads = 1;
  int head_dim = 0;
  int padded_head_dim = 128;
  int q_tokens = 0;
  int kv_tokens = 0;
  // Of this launch, among all batches times heads.
  int first_head = 0;
  int heads = 1;

  int q_blocks = 1;  // units a head
  int queries = 1;   // i; rows are a multiple: row r meets query r % queries in the beginning
  int rows = 1;      // r
  int cols = 1;      // j, l
  TokenMap q_map;
  TokenMap k_map;  // of blocks of `queries` rows

  float scale = 0;       // softmax scale
  float scale_log2 = 0;  // times log2 e
  // c_R enters as max(c_R + c_r_add, c_r_min).
  float c_r_add = 0;
  float c_r_min = 0;
  bool first_iteration = true;
  int num_iters = 1;
  int recomputed_tokens = 0;  // of the first frame

  // [units, rows, cols], the first four with head_dim behind, 16 bit. Of one iteration; several
  // may share their memory: a thread block reads its rows before it writes them.
  std::uint16_t* a_l = nullptr;
  std::uint16_t* a_r = nullptr;       // over the bounded c_R; not in the first iteration
  std::uint16_t* next_a_r = nullptr;  // of the next iteration
  std::uint16_t* y = nullptr;
  float* entropy = nullptr;   // to the base 2
  float* row_lse = nullptr;   // of the first softmax, to the base 2; or null
  float* next_c_r = nullptr;  // sums of weights, not yet bounded; or null
  float* lse = nullptr;       // [units, queries, cols] of the second softmax, to the base 2
};

}  // namespace monarch::attention::cuda
