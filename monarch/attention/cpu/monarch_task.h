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

// Some columns of a head's query blocks, counted through all blocks that see the same keys: a row
// of keys brought in once serves them all. Columns of a block row follow one another, those of the
// next block come after.
struct Task {
  std::int64_t batch;
  std::int64_t head;
  std::int64_t first_block;
  std::int64_t first_col;
  std::int64_t cols;

  MONARCH_INLINE Task(const MonarchForwardArgs& args, std::int64_t index) {
    const std::int64_t group = index % args.column_groups;
    index /= args.column_groups;
    const std::int64_t blocks = blocks_together(args);
    first_block = index % (args.num_q_blocks / blocks) * blocks;
    index /= args.num_q_blocks / blocks;
    head = index % args.num_heads;
    batch = index / args.num_heads;
    first_col = group_start(args, group);
    cols = group_start(args, group + 1) - first_col;
  }
  template <typename T>
  MONARCH_INLINE std::int64_t offset(const BasicOperand<T>& operand) const {
    return batch * operand.batch_stride + head * operand.head_stride;
  }
  MONARCH_INLINE std::int64_t visible_blocks(const MonarchForwardArgs& args) const {
    return args.causal_group == 0 ? args.num_kv_blocks : first_block + args.causal_group;
  }
  // Blocks that see the same keys.
  static MONARCH_INLINE std::int64_t blocks_together(const MonarchForwardArgs& args) {
    return args.causal_group == 0 ? args.num_q_blocks : args.causal_group;
  }

  // Groups begin at whole vectors, the nearest.
  static MONARCH_INLINE std::int64_t group_start(const MonarchForwardArgs& args,
                                                 std::int64_t group) {
    const std::int64_t all = blocks_together(args) * args.layout.block_cols();
    if (group == args.column_groups) return all;
    return (group * all / args.column_groups + 8) / 16 * 16;
  }

  // f(i, column, token) for every query of the task.
  template <typename F>
  MONARCH_INLINE void for_each_query(const MonarchForwardArgs& args, const F& f) const {
    const std::int64_t block_cols = args.layout.block_cols();
    for (std::int64_t i = 0; i < args.layout.block_rows(); ++i) {
      std::int64_t column = 0;
      while (column < cols) {
        const std::int64_t block = first_block + (first_col + column) / block_cols;
        const std::int64_t j = (first_col + column) % block_cols;
        const std::int64_t rest = cols - column;
        const std::int64_t count = block_cols - j < rest ? block_cols - j : rest;
        const std::int64_t token = row_start(args.layout, false, block, i) + j;
        for (std::int64_t at = 0; at < count; ++at) f(i, column + at, token + at);
        column += count;
      }
    }
  }
};

// Most columns a task has.
MONARCH_INLINE std::int64_t task_columns(const MonarchForwardArgs& args) {
  std::int64_t most = 0;
  for (std::int64_t group = 0; group < args.column_groups; ++group) {
    const std::int64_t cols = Task::group_start(args, group + 1) - Task::group_start(args, group);
    most = cols > most ? cols : most;
  }
  return most;
}

// Adds the rows of K and V after (kv_block, row) in the order the task reads them; nothing after
// the last.
MONARCH_INLINE void add_rows_after(const MonarchForwardArgs& args, const Task& task,
                                   std::int64_t kv_block, std::int64_t row,
                                   std::int64_t num_kv_blocks, Ahead& ahead) {
  if (++row == args.layout.block_rows()) {
    row = 0;
    ++kv_block;
  }
  if (kv_block == num_kv_blocks) return;
  const std::int64_t token = row_start(args.layout, args.kv_block_order, kv_block, row);
  for (const Operand* operand : {&args.k, &args.v}) {
    const int bytes = dtype_bytes(operand->dtype);
    ahead.add(static_cast<const char*>(operand->data) +
                  (task.offset(*operand) + token * operand->token_stride) * bytes,
              operand->token_stride * bytes, args.head_dim * bytes, args.layout.block_cols());
  }
}

// Running softmaxes of the task's queries and the sums they weigh.
struct QuerySums {
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
      for_each_vector(padded_rows, [&](std::int64_t i) MONARCH_LAMBDA_INLINE {
        float* maximum = row_max + at + i;
        float* sum = row_sum + at + i;
        MONARCH_ISA::store<kLanes>(maximum,
                                   (load<kLanes>(maximum) + log2<kLanes>(load<kLanes>(sum))) *
                                       kLn2);  // now the log-sum-exp
        MONARCH_ISA::store<kLanes>(sum, 1.0F / load<kLanes>(sum));
      });
    }
    const std::int64_t q_tokens = args.num_q_blocks * args.layout.block_tokens();
    float* lse = args.lse == nullptr
                     ? nullptr
                     : args.lse + (task.batch * args.num_heads + task.head) * q_tokens;
    task.for_each_query(
        args, [&](std::int64_t i, std::int64_t j, std::int64_t token) MONARCH_LAMBDA_INLINE {
          store_row(out + (j * out_rows + i) * width, row_sum[j * padded_rows + i], args.out.data,
                    args.out.dtype, task.offset(args.out) + token * args.out.token_stride,
                    args.head_dim);
          if (lse != nullptr) lse[token] = row_max[j * padded_rows + i];
        });
  }
};

}  // namespace monarch::attention::cpu::MONARCH_ISA
