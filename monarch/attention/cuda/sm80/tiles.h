// Tile sizes of the sm_80 kernels, and where things lie in shared memory.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda::sm80 {

inline constexpr float kLog2E = 1.44269504088896F;  // exponentials are to the base 2
inline constexpr float kLn2 = 0.693147180559945F;

// The running output of a tile stays in registers: columns x rows x head_dim floats. 8 x 32 x 128
// of them are 128 registers a thread of 256, half the register file; 16 columns would not leave
// room for anything else. Eight columns are also the N of one matrix instruction, so the first
// softmax needs no padding in columns, whatever the grid.
inline constexpr int kThreads = 256;
inline constexpr int kWarps = kThreads / 32;
inline constexpr int kTileCols = 8;   // one a warp in the second softmax
inline constexpr int kChunkRows = 8;  // key rows (f, k) folded into the second softmax at a time
inline constexpr int kMaxStepRows = 2;
inline constexpr int kMaxStages = 4;

// Norms and what is elementwise: 192 threads are the 1,536 channels of a Wan 1.3B token at once,
// eight a thread.
inline constexpr int kNormThreads = 192;
inline constexpr int kNormPieces = 4;  // of eight channels a thread, at most

constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Rows are padded by 16 bytes to an odd multiple of 16: the eight rows of a matrix load fall on
// different banks.
// Bytes of a row in shared memory.
constexpr std::uint32_t row_pitch(int padded_head_dim) {
  return static_cast<std::uint32_t>(2 * padded_head_dim + 16);
}

constexpr SharedLayout shared_layout(int padded_head_dim, int block_cols, int step_rows,
                                     int stages) {
  const auto size = [](int value) { return static_cast<std::uint32_t>(value); };
  SharedLayout layout;
  const int padded_cols = round_up(block_cols, 16);
  const std::uint32_t pitch = row_pitch(padded_head_dim);
  layout.slot_row_bytes = size(block_cols + kTileCols) * pitch;
  layout.slot_bytes = size(step_rows) * layout.slot_row_bytes;
  layout.scores = size(stages) * layout.slot_bytes;
  layout.score_pitch = size(padded_cols + 4);
  layout.weights = layout.scores + size(step_rows * 2 * kTileCols * 4) * layout.score_pitch;
  layout.weight_pitch = size(padded_cols + 8);
  layout.inverse = layout.weights + size(step_rows * kTileCols * 2) * layout.weight_pitch;
  layout.c_l = layout.inverse + size(step_rows * kTileCols * 4);
  layout.a_l = layout.c_l + size(kTileCols * kChunkRows * 4);
  layout.column_pitch = size(kChunkRows) * pitch + 16;
  layout.y = layout.a_l + size(kTileCols) * layout.column_pitch;
  layout.bytes = layout.y + size(kTileCols) * layout.column_pitch;
  return layout;
}

}  // namespace monarch::attention::cuda::sm80
