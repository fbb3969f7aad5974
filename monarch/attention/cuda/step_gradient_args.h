// What the backward kernels of Monarch attention with several iterations are launched with.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/step_args.h"

namespace monarch::attention::cuda {

struct StepGradientArgs {
  StepArgs step;                     // of one iteration, recomputed; y is `values`
  Operand<const std::uint16_t> out;  // of the forward
  Operand<const std::uint16_t> grad_out;
  const float* out_lse = nullptr;  // [B, H, Nq], of the forward: that of the first frame
  Operand<std::uint16_t> grad_q;
  Operand<std::uint16_t> grad_k;  // in the order of k and v
  Operand<std::uint16_t> grad_v;
  bool entropy_gradient = false;  // VMonarch holds H constant

  // [units, rows, cols], the first three with head_dim behind, 16 bit.
  std::uint16_t* values = nullptr;  // Y; in earlier iterations d a_R of the next, times its c_R
  std::uint16_t* d_a_l = nullptr;
  std::uint16_t* d_y = nullptr;
  float* d_entropy = nullptr;
  float* delta = nullptr;              // what the first softmax's backward subtracts: sum_l R u
  float* d_c_r = nullptr;              // of the next iteration, times its c_R
  float* c_r = nullptr;                // of this iteration; not in the first
  float* mean = nullptr;               // [units, queries, cols], sum_r L dL
  float* first_frame_delta = nullptr;  // [heads, recomputed tokens]

  // Sums over all iterations: [heads, N, D].
  float* sum_q = nullptr;
  float* sum_k = nullptr;
  float* sum_v = nullptr;

  // What one iteration keeps, in entries: of rows, and of queries.
  std::int64_t row_entries = 0;
  std::int64_t query_entries = 0;
};

// Of iteration t, from pointers to what the first (c_r, a_r: the second) keeps.
inline StepGradientArgs at_iteration(StepGradientArgs args, int t) {
  StepArgs& step = args.step;
  const std::int64_t rows = args.row_entries;
  const std::int64_t row_values = rows * step.head_dim;
  step.first_iteration = t == 0;
  step.a_l += t * row_values;
  step.entropy += t * rows;
  step.row_lse += t * rows;
  step.lse += t * args.query_entries;
  step.next_a_r = step.a_r + t * row_values;
  step.next_c_r = args.c_r + t * rows;
  step.a_r = t == 0 ? nullptr : step.next_a_r - row_values;
  args.c_r = t == 0 ? nullptr : step.next_c_r - rows;
  return args;
}

}  // namespace monarch::attention::cuda
