// Tile sizes of the sm_90a kernel, and where things lie in shared memory.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/element.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm90 {

using sm80::kChunkRows;
using sm80::kTileCols;

inline constexpr int kGroupThreads = 128;  // of a warpgroup
inline constexpr int kConsumers = 2;       // warpgroups, each with a key row of a step
inline constexpr int kConsumerWarps = kConsumers * kGroupThreads / kWarpSize;
inline constexpr int kThreads = (kConsumers + 1) * kGroupThreads;
inline constexpr int kStepRows = kConsumers;
inline constexpr int kStages = 3;  // pieces of K or V in shared memory
inline constexpr int kMaxTileRows = 32;
inline constexpr int kMaxCluster = 4;
// Registers a thread: 65,536 a multiprocessor.
inline constexpr int kConsumerRegisters = 224;
inline constexpr int kProducerRegisters = 56;

// A key row's block columns are the 64 rows of a matrix product. With half of them or fewer the
// product is mostly padding, and with more than 64 two rows do not fit twice into shared memory:
// those tilings are the portable kernel's.
inline constexpr int kMaxCols = 64;
inline constexpr int kMinCols = 33;

// A piece of the ring: kStepRows rows of K or V, [chunk of 64 along D][64 columns][128 bytes], then
// for K the query rows, [row][chunk][8 columns][128 bytes].
template <int kHeadDim>
struct Layout {
  static constexpr std::uint32_t kChunks = (kHeadDim + 63) / 64;
  static constexpr std::uint32_t kChunkBytes = kMaxCols * 128;
  static constexpr std::uint32_t kRowBytes = kChunks * kChunkBytes;
  static constexpr std::uint32_t kQueryChunkBytes = kTileCols * 128;
  static constexpr std::uint32_t kQueries = kStepRows * kRowBytes;
  static constexpr std::uint32_t kPieceBytes = kQueries + kStepRows * kChunks * kQueryChunkBytes;
  static constexpr std::uint32_t kWeights = kStages * kPieceBytes;  // 16 bit [row][64][kTileCols]
  static constexpr std::uint32_t kWeightBytes = kMaxCols * kTileCols * 2;
  // Float [row][warp of four][kTileCols]: maxima, sums, sums of rounded weights, entropy sums.
  static constexpr std::uint32_t kPartials = kWeights + kStepRows * kWeightBytes;
  static constexpr std::uint32_t kPartialBytes = 4 * kTileCols * 4;
  static constexpr std::uint32_t kPartialKinds = 4;
  static constexpr std::uint32_t kFull = kPartials + kPartialKinds * kStepRows * kPartialBytes;
  static constexpr std::uint32_t kEmpty = kFull + 8 * kStages;
  // As sm80::SecondStage finds them.
  static constexpr SharedLayout shared() {
    constexpr std::uint32_t kPitch = sm80::row_pitch(kHeadDim);
    SharedLayout layout;
    layout.c_l = (kEmpty + 8 * kStages + 15) / 16 * 16;
    layout.a_l = layout.c_l + 4 * kTileCols * kChunkRows;
    layout.column_pitch = kChunkRows * kPitch + 16;
    layout.y = layout.a_l + kTileCols * layout.column_pitch;
    layout.queries = layout.y + kTileCols * layout.column_pitch;
    layout.bytes = layout.queries + kTileCols * kMaxTileRows * kPitch;
    return layout;
  }
};

inline SharedLayout shared_layout(int padded_head_dim) {
  if (padded_head_dim == 64) return Layout<64>::shared();
  if (padded_head_dim == 96) return Layout<96>::shared();
  return Layout<128>::shared();
}

}  // namespace monarch::attention::cuda::sm90
