// What the kernels of a Monarch step share.
#pragma once

#include "monarch/attention/cpu/kernels.h"
#include "monarch/attention/cpu/rows.h"
#include "monarch/attention/cpu/scratch.h"
#include "monarch/attention/cpu/softmax.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

// The arguments of one unit: tensors at its head, arrays and tables its own.
MONARCH_INLINE StepArgs of_unit(const StepArgs& all, std::int64_t unit) {
  StepArgs args = all;
  const std::int64_t which = all.first_unit + unit;
  const std::int64_t head = which / all.num_blocks % all.num_heads;
  const std::int64_t batch = which / all.num_blocks / all.num_heads;
  const auto offset = [&](const auto& operand) {
    return (batch * operand.batch_stride + head * operand.head_stride) * dtype_bytes(operand.dtype);
  };
  for (Operand* operand : {&args.q, &args.k, &args.v, &args.grad_out, &args.out}) {
    if (operand->data == nullptr) continue;
    operand->data = static_cast<const char*>(operand->data) + offset(*operand);
  }
  if (args.result.data != nullptr) {
    args.result.data = static_cast<char*>(args.result.data) + offset(args.result);
  }
  args.q_tokens += which % all.num_blocks * all.queries * all.cols;
  if (args.lse != nullptr) args.lse += (batch * all.num_heads + head) * all.lse_stride;
  for (float** array : {&args.a_r, &args.c_r, &args.a_l, &args.c_l, &args.y, &args.row_lse,
                        &args.log_r, &args.next_a_r, &args.next_c_r, &args.da_r, &args.dc_r,
                        &args.delta, &args.dq, &args.dk, &args.dv}) {
    if (*array != nullptr) *array += unit * all.unit_stride;
  }
  return args;
}

// g(c), the factor between Σ_i L q~ and aR.
MONARCH_INLINE float inverse_c_r(const StepArgs& args, float c_r) {
  const float raised = c_r + args.c_r_add;
  return 1.0F / (raised < args.c_r_min ? args.c_r_min : raised);
}

// aR of the rows (k, j), j = first .. first + count - 1, packed.
MONARCH_INLINE void load_a_r(const StepArgs& args, std::int64_t k, std::int64_t first,
                             std::int64_t count, float* rows) {
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t* tokens = args.q_tokens + k % args.queries * args.cols;
  const float scale = args.scale_log2 * inverse_c_r(args, 1.0F);
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int64_t j = first + t;
    if (args.first) {
      load_row(args.q.data, args.q.dtype, tokens[j] * args.q.token_stride, args.head_dim, width,
               scale, rows + t * width);
    } else {
      load_row(args.a_r, DType::kF32, (j * args.rows + k) * width, width, width, 1.0F,
               rows + t * width);
    }
  }
}

// Keys or values l = first .. first + count - 1 of row k, packed.
MONARCH_INLINE void load_keys(const StepArgs& args, const Operand& operand, std::int64_t k,
                              std::int64_t first, std::int64_t count, float* rows) {
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t* tokens = args.k_tokens + k * args.cols + first;
  for (std::int64_t l = 0; l < count; ++l) {
    load_row(operand.data, operand.dtype, tokens[l] * operand.token_stride, args.head_dim, width,
             1.0F, rows + l * width);
  }
}

// Queries i of column j times `scale`, packed.
MONARCH_INLINE void load_column(const StepArgs& args, const Operand& operand, std::int64_t j,
                                float scale, float* rows) {
  const std::int64_t width = packed_width(args.head_dim);
  for (std::int64_t i = 0; i < args.queries; ++i) {
    load_row(operand.data, operand.dtype, args.q_tokens[i * args.cols + j] * operand.token_stride,
             args.head_dim, width, scale, rows + i * width);
  }
}

// Queries of a column taken at once: all, unless their scores against all rows would leave a core's
// cache.
MONARCH_INLINE std::int64_t column_tile(const StepArgs& args) {
  constexpr std::int64_t kMostScores = 1 << 16;
  const std::int64_t all = padded_columns(static_cast<int>(args.queries));
  const std::int64_t fitting = kMostScores / args.rows / kLanes * kLanes;
  const std::int64_t least = fitting < kLanes ? kLanes : fitting;
  return all < least ? all : least;
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
