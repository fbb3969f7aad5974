// What the float and the bf16 kernel of Monarch attention's forward share: which part of a problem
// a task is, where its rows lie, and how its results are stored.
#pragma once

#include "monarch/attention/cpu/kernels.h"
#include "monarch/attention/cpu/rows.h"
#include "monarch/attention/cpu/softmax.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

// First token of a block row; the row's columns follow it.
MONARCH_INLINE std::int64_t row_start(const BlockLayout& layout, bool block_order,
                                      std::int64_t block, std::int64_t row) {
  const std::int64_t position = block * layout.block_tokens() + row * layout.block_cols();
  return block_order ? position : layout.token_of_position(position);
}

struct Task {
  std::int64_t batch;
  std::int64_t head;
  std::int64_t q_block;
  std::int64_t first_col;
  std::int64_t cols;

  MONARCH_INLINE Task(const MonarchForwardArgs& args, std::int64_t index) {
    const std::int64_t group = index % args.column_groups;
    index /= args.column_groups;
    q_block = index % args.num_q_blocks;
    index /= args.num_q_blocks;
    head = index % args.num_heads;
    batch = index / args.num_heads;
    const std::int64_t all = args.layout.block_cols();
    first_col = group * all / args.column_groups;
    cols = (group + 1) * all / args.column_groups - first_col;
  }
  template <typename T>
  MONARCH_INLINE std::int64_t offset(const BasicOperand<T>& operand) const {
    return batch * operand.batch_stride + head * operand.head_stride;
  }
  MONARCH_INLINE std::int64_t visible_blocks(const MonarchForwardArgs& args) const {
    return args.causal_group == 0 ? args.num_kv_blocks
                                  : (q_block / args.causal_group + 1) * args.causal_group;
  }
};

// Most columns a task has.
MONARCH_INLINE std::int64_t task_columns(const MonarchForwardArgs& args) {
  return (args.layout.block_cols() + args.column_groups - 1) / args.column_groups;
}

// The rows of K and V after (kv_block, row) in the order the task reads them, to be brought in
// within `steps` steps; nothing after the last.
MONARCH_INLINE Ahead rows_after(const MonarchForwardArgs& args, const Task& task,
                                std::int64_t kv_block, std::int64_t row, std::int64_t num_kv_blocks,
                                std::int64_t steps) {
  if (++row == args.layout.block_rows()) {
    row = 0;
    ++kv_block;
  }
  Ahead ahead;
  if (kv_block == num_kv_blocks) return ahead;
  const std::int64_t token = row_start(args.layout, args.kv_block_order, kv_block, row);
  const auto address = [&](const Operand& operand) MONARCH_LAMBDA_INLINE {
    return static_cast<const char*>(operand.data) +
           (task.offset(operand) + token * operand.token_stride) * dtype_bytes(operand.dtype);
  };
  ahead.row = address(args.k);
  ahead.second = address(args.v);
  ahead.row_stride = args.k.token_stride * dtype_bytes(args.k.dtype);
  ahead.second_stride = args.v.token_stride * dtype_bytes(args.v.dtype);
  ahead.row_bytes = args.head_dim * dtype_bytes(args.k.dtype);
  ahead.rows = ahead.second_rows = args.layout.block_cols();
  const std::int64_t lines = 2 * ahead.rows * ((ahead.row_bytes + 63) / 64);
  ahead.lines_per_step = static_cast<int>(lines / (steps + 1) + 1);
  return ahead;
}

// Running softmaxes of the task's queries and the sums they weigh.
struct QuerySums {
  std::int64_t rows;         // I
  std::int64_t padded_rows;  // I for vectors along i
  std::int64_t out_rows;     // I from column to column of out
  std::int64_t width;        // packed head_dim
  float* out;                // [J, out_rows, D]
  float* row_max;            // [J, padded_rows]
  float* row_sum;            // [J, padded_rows]

  MONARCH_INLINE void reset(const Task& task) const {
    for (std::int64_t at = 0; at < task.cols * out_rows * width; ++at) out[at] = 0.0F;
    for (std::int64_t at = 0; at < task.cols * padded_rows; ++at) {
      row_max[at] = -__builtin_inff();
      row_sum[at] = 0.0F;
    }
  }

  MONARCH_INLINE void store(const MonarchForwardArgs& args, const Task& task) const {
    for (std::int64_t at = 0; at < task.cols * padded_rows; at += padded_rows) {
      for_each_vector(padded_rows, [&](std::int64_t i, auto lanes) MONARCH_LAMBDA_INLINE {
        constexpr int N = decltype(lanes)::value;
        float* maximum = row_max + at + i;
        float* sum = row_sum + at + i;
        MONARCH_ISA::store<N>(
            maximum, (load<N>(maximum) + log2<N>(load<N>(sum))) * kLn2);  // now the log-sum-exp
        MONARCH_ISA::store<N>(sum, 1.0F / load<N>(sum));
      });
    }
    const std::int64_t q_tokens = args.num_q_blocks * args.layout.block_tokens();
    float* lse = args.lse == nullptr
                     ? nullptr
                     : args.lse + (task.batch * args.num_heads + task.head) * q_tokens;
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t token = row_start(args.layout, false, task.q_block, i) + task.first_col;
      for (std::int64_t j = 0; j < task.cols; ++j) {
        store_row(out + (j * out_rows + i) * width, row_sum[j * padded_rows + i], args.out.data,
                  args.out.dtype, task.offset(args.out) + (token + j) * args.out.token_stride,
                  args.head_dim);
        if (lse != nullptr) lse[token + j] = row_max[j * padded_rows + i];
      }
    }
  }
};

}  // namespace monarch::attention::cpu::MONARCH_ISA
