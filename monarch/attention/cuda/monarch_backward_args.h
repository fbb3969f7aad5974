// What the Monarch backward kernels are launched with.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda {

// Shared memory of the kernels that take one key row with one tile of columns; byte offsets.
struct GradientLayout {
  std::uint32_t v = 0;  // 16 bit [block_cols] rows; K's are at 0
  std::uint32_t q = 0;  // 16 bit [C] rows, as the next two
  std::uint32_t d_a_l = 0;
  std::uint32_t d_y = 0;
  std::uint32_t scores = 0;  // float [2 (halves of head_dim), C, score_pitch], as the next
  std::uint32_t d_weights = 0;
  std::uint32_t weights = 0;  // 16 bit [C, weight_pitch], as the next
  std::uint32_t d_scores = 0;
  std::uint32_t bytes = 0;
};

struct MonarchBackwardArgs {
  // q, k and v of the forward and its sizes; one row tile, no splits.
  MonarchForwardArgs forward;
  Operand<const std::uint16_t> out;  // of the forward
  const float* lse = nullptr;        // [B, H, Nq]
  Operand<const std::uint16_t> grad_out;
  Operand<std::uint16_t> grad_q;
  Operand<std::uint16_t> grad_k;  // in the order of k and v
  Operand<std::uint16_t> grad_v;

  // Of the units (batch, head) of one launch; columns (a, j) of all query blocks, all key rows.
  float* d_a_l = nullptr;        // [units, columns, rows, D], of the loss with respect to a_L
  float* d_y = nullptr;          // [units, columns, rows, D]
  float* d_c_l = nullptr;        // [units, columns, rows]
  float* grad_q_part = nullptr;  // [units, Nq, D], what comes through the second softmax
  int first_unit = 0;
  int units = 1;
  int kv_rows = 1;
  int columns = 1;
  int col_parts = 1;  // key columns are taken 64 at a time
  float scale = 1;    // softmax scale
  GradientLayout shared;
};

}  // namespace monarch::attention::cuda
