// Where the operands of a unit lie (step_args.h), and its rows as left operands.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/step_args.h"

namespace monarch::attention::cuda::sm80 {

MONARCH_DEVICE int token_on(const Axis& axis, int n) {
  return n / axis.inner * axis.outer_stride + n % axis.inner * axis.inner_stride;
}
// Of column 0.
MONARCH_DEVICE int row_token(const TokenMap& map, int block, int row) {
  return block % map.w_bands * map.w_stride + block / map.w_bands % map.h_bands * map.h_stride +
         block / (map.w_bands * map.h_bands) * map.group_stride + token_on(map.row, row);
}
MONARCH_DEVICE int key_row_token(const StepArgs& args, int row) {
  return row_token(args.k_map, row / args.queries, row % args.queries);
}

template <typename Element>
MONARCH_DEVICE Element* head_of(const Operand<Element>& operand, const StepArgs& args, int unit) {
  const int head = args.first_head + unit / args.q_blocks;
  return operand.data + head / args.num_heads * operand.batch_stride +
         head % args.num_heads * operand.head_stride;
}

// Keeps the log-sum-exp, to the base 2, of a query's last softmax where it is wanted.
MONARCH_DEVICE void store_lse(const StepArgs& args, int unit, std::int64_t token, float lse) {
  constexpr float kLn2 = 0.693147180559945F;
  if (args.out_lse == nullptr) return;
  const std::int64_t head = args.first_head + unit / args.q_blocks;
  args.out_lse[head * args.q_tokens + token] = kLn2 * lse;
}

// c_R as it divides a_R.
MONARCH_DEVICE float bounded_c_r(const StepArgs& args, float c_r) {
  return fmaxf(c_r + args.c_r_add, args.c_r_min);
}
// What the first softmax's scores are multiplied by.
MONARCH_DEVICE float row_scale(const StepArgs& args, float scale) {
  return args.first_iteration ? scale / bounded_c_r(args, 1.0F) : scale;
}

// Channels d and d + 1 of a row; zeros beyond the last.
MONARCH_DEVICE std::uint32_t channels(const StepArgs& args, const std::uint16_t* row, int d) {
  return d < args.head_dim ? *reinterpret_cast<const std::uint32_t*>(row + d) : 0;
}
// Row g (half 0) or g + 8 (half 1) of a left operand.
template <int kDepth>
MONARCH_DEVICE void load_left(std::uint32_t (&left)[kDepth][4], int half, const StepArgs& args,
                              const std::uint16_t* row) {
  const int t = device::thread_index() % 4;
  MONARCH_UNROLL
  for (int depth = 0; depth < kDepth; ++depth) {
    left[depth][half] = channels(args, row, 16 * depth + 2 * t);
    left[depth][2 + half] = channels(args, row, 16 * depth + 8 + 2 * t);
  }
}

}  // namespace monarch::attention::cuda::sm80
