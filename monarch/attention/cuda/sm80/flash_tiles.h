// Tile sizes of flash_rows.cuh and vmonarch_columns.cuh, and how many thread blocks they are.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/vmonarch_forward_args.h"

namespace monarch::attention::cuda::sm80 {

inline constexpr int kFlashQueries = 128;
inline constexpr int kFlashKeys = 64;

enum class FlashKind { kFactor, kFactorWithValues, kDense };

constexpr int flash_shared_bytes(int padded_head_dim, FlashKind kind) {
  const int operands = kind == FlashKind::kFactor ? 1 : 2;
  return 2 * operands * kFlashKeys * static_cast<int>(row_pitch(padded_head_dim));
}

constexpr std::int64_t flash_blocks(const VMonarchForwardArgs& args, FlashKind kind) {
  const bool dense = kind == FlashKind::kDense;
  const int queries = dense ? args.recomputed_tokens : args.cols;
  return std::int64_t{args.batch} * args.num_heads * (dense ? 1 : args.rows) *
         ((queries + kFlashQueries - 1) / kFlashQueries);
}

enum class ColumnPass { kLogSums, kRefine, kOutput };

constexpr std::int64_t column_blocks(const VMonarchForwardArgs& args) {
  return std::int64_t{args.batch} * args.num_heads * ((args.rows + 15) / 16) *
         ((args.cols + kWarps - 1) / kWarps);
}

// The passes of a forward in order: launch.flash.template operator()<kind>(args), and
// launch.columns.template operator()<pass>(args).
template <typename Flash, typename Columns>
void vmonarch_passes(VMonarchForwardArgs args, const Flash& flash, const Columns& columns) {
  for (int iteration = 1; iteration <= args.num_iters; ++iteration) {
    args.first_iteration = iteration == 1;
    if (iteration == args.num_iters) {
      flash.template operator()<FlashKind::kFactorWithValues>(args);
      columns.template operator()<ColumnPass::kOutput>(args);
    } else {
      flash.template operator()<FlashKind::kFactor>(args);
      columns.template operator()<ColumnPass::kLogSums>(args);
      columns.template operator()<ColumnPass::kRefine>(args);
    }
  }
  if (args.recomputed_tokens > 0) flash.template operator()<FlashKind::kDense>(args);
}

}  // namespace monarch::attention::cuda::sm80
