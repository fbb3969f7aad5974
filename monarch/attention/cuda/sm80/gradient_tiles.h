// Shared memory of the kernels in gradient_pair.cuh.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_backward_args.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

// Key columns whose gradients one thread block holds in registers: 64 x 128 floats each of dK and
// dV are 64 a thread.
inline constexpr int kGradientCols = 64;

constexpr GradientLayout gradient_layout(int padded_head_dim, int block_cols) {
  const std::uint32_t pitch = row_pitch(padded_head_dim);
  const auto cols = static_cast<std::uint32_t>(block_cols);
  const auto padded_cols = static_cast<std::uint32_t>(round_up(block_cols, 16));
  const std::uint32_t tile_bytes = kTileCols * pitch;
  const std::uint32_t score_bytes = 2 * kTileCols * 4 * (padded_cols + 4);
  const std::uint32_t weight_bytes = kTileCols * 2 * (padded_cols + 8);
  GradientLayout layout;
  layout.v = cols * pitch;
  layout.q = 2 * cols * pitch;
  layout.d_a_l = layout.q + tile_bytes;
  layout.d_y = layout.d_a_l + tile_bytes;
  layout.scores = layout.d_y + tile_bytes;
  layout.d_weights = layout.scores + score_bytes;
  layout.weights = layout.d_weights + score_bytes;
  layout.d_scores = layout.weights + weight_bytes;
  layout.bytes = layout.d_scores + weight_bytes;
  return layout;
}

}  // namespace monarch::attention::cuda::sm80
