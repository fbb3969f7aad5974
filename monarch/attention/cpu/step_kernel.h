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
  for (Result* result : {&args.result, &args.grad_k, &args.grad_v}) {
    if (result->data == nullptr) continue;
    result->data = static_cast<char*>(result->data) + offset(*result);
  }
  args.q_tokens += which % all.num_blocks * all.queries * all.cols;
  if (args.lse != nullptr) args.lse += (batch * all.num_heads + head) * all.lse_stride;
  for (float** array :
       {&args.a_r, &args.c_r, &args.a_l, &args.c_l, &args.y, &args.row_lse, &args.log_r,
        &args.next_a_r, &args.next_c_r, &args.da_r, &args.dc_r, &args.delta, &args.dq, &args.dk,
        &args.dv, &args.q_cols, &args.g_cols, &args.query_lse, &args.mean}) {
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
  const std::int64_t* tokens = args.k_tokens + k * args.keys + first;
  for (std::int64_t l = 0; l < count; ++l) {
    load_row(operand.data, operand.dtype, tokens[l] * operand.token_stride, args.head_dim, width,
             1.0F, rows + l * width);
  }
}

// The keys or values of row k, to be brought in.
MONARCH_INLINE void add_keys(const StepArgs& args, const Operand& operand, std::int64_t k,
                             Ahead& ahead) {
  const std::int64_t* tokens = args.k_tokens + k * args.keys;
  const std::int64_t bytes = dtype_bytes(operand.dtype);
  const std::int64_t step = args.keys > 1 ? tokens[1] - tokens[0] : 0;
  ahead.add(static_cast<const char*>(operand.data) + tokens[0] * operand.token_stride * bytes,
            step * operand.token_stride * bytes, args.head_dim * bytes, args.keys);
}

// The row that a task takes after row k of its run of i's, or -1.
struct RowRun {
  std::int64_t first;  // i
  std::int64_t last;   // one past
  MONARCH_INLINE RowRun(const StepArgs& args, std::int64_t run)
      : first(run * args.row_run),
        last(first + args.row_run < args.queries ? first + args.row_run : args.queries) {}
  MONARCH_INLINE std::int64_t after(const StepArgs& args, std::int64_t k) const {
    if (k + args.queries < args.rows) return k + args.queries;
    const std::int64_t next = k % args.queries + 1;
    return next < last ? next : -1;
  }
};

// Queries i of column j, to be brought in; they lie evenly in all but the rarest layouts, and where
// they do not this costs time alone.
MONARCH_INLINE void add_column(const StepArgs& args, const Operand& operand, std::int64_t j,
                               Ahead& ahead) {
  const std::int64_t bytes = dtype_bytes(operand.dtype);
  const std::int64_t* tokens = args.q_tokens + j;
  const std::int64_t step = args.queries > 1 ? tokens[args.cols] - tokens[0] : 0;
  ahead.add(static_cast<const char*>(operand.data) + tokens[0] * operand.token_stride * bytes,
            step * operand.token_stride * bytes, args.head_dim * bytes, args.queries);
}

// The row's part of an array [P, K, D].
MONARCH_INLINE void add_row_of(const StepArgs& args, const float* array, std::int64_t k,
                               Ahead& ahead) {
  const std::int64_t width = packed_width(args.head_dim);
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(float));
  ahead.add(array + k * width, args.rows * width * kBytes, width * kBytes, args.cols);
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
