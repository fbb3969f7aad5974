// Tile sizes of flash_rows.cuh and step_columns.cuh, and how many thread blocks they are.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/step_args.h"

namespace monarch::attention::cuda::sm80 {

inline constexpr int kFlashQueries = 128;
inline constexpr int kFlashKeys = 64;

enum class FlashKind { kFactor, kFactorWithValues, kDense };

constexpr int flash_shared_bytes(int padded_head_dim, FlashKind kind) {
  const int operands = kind == FlashKind::kFactor ? 1 : 2;
  return 2 * operands * kFlashKeys * static_cast<int>(row_pitch(padded_head_dim));
}

constexpr std::int64_t flash_blocks(const StepArgs& args, FlashKind kind) {
  const bool dense = kind == FlashKind::kDense;
  const int queries = dense ? args.recomputed_tokens : args.cols;
  return std::int64_t{args.heads} * (dense ? 1 : args.q_blocks * args.rows) *
         ((queries + kFlashQueries - 1) / kFlashQueries);
}

enum class ColumnPass { kLogSums, kRefine, kOutput };

// `rows` of each column, 16 a warp.
constexpr std::int64_t column_blocks(const StepArgs& args, int rows) {
  return std::int64_t{args.heads} * args.q_blocks * ((rows + 15) / 16) *
         ((args.cols + kWarps - 1) / kWarps);
}
constexpr std::int64_t column_blocks(const StepArgs& args, ColumnPass pass) {
  return column_blocks(args, pass == ColumnPass::kRefine ? args.rows : args.queries);
}

// What makes an iteration's a_L, H and both log-sum-exps, then the next one's a_R, or in the last
// one Y: calls flash.template operator()<kind>(args) and columns.template operator()<pass>(args).
template <typename Flash, typename Columns>
void step_passes(const StepArgs& args, bool last, const Flash& flash, const Columns& columns) {
  if (last) {
    flash.template operator()<FlashKind::kFactorWithValues>(args);
  } else {
    flash.template operator()<FlashKind::kFactor>(args);
  }
  columns.template operator()<ColumnPass::kLogSums>(args);
  if (!last) columns.template operator()<ColumnPass::kRefine>(args);
}

// A whole forward.
template <typename Flash, typename Columns>
void forward_passes(StepArgs args, const Flash& flash, const Columns& columns) {
  for (int iteration = 1; iteration < args.num_iters; ++iteration) {
    args.first_iteration = iteration == 1;
    step_passes(args, false, flash, columns);
  }
  args.first_iteration = args.num_iters == 1;
  flash.template operator()<FlashKind::kFactorWithValues>(args);
  columns.template operator()<ColumnPass::kOutput>(args);
  if (args.recomputed_tokens > 0) flash.template operator()<FlashKind::kDense>(args);
}

}  // namespace monarch::attention::cuda::sm80
