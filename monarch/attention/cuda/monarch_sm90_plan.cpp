#include <algorithm>
#include <cstdint>
#include <limits>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/monarch_geometry.h"
#include "monarch/attention/cuda/monarch_sm90.h"
#include "monarch/attention/cuda/monarch_splits.h"
#include "monarch/attention/cuda/sm90/tiles.h"

namespace monarch::attention::cuda {
namespace {

// A tensor map takes no stride of an axis that does not exist.
TensorTiles tiles_of(const ConstTensorView& tensor, int box_tokens) {
  const auto size = [&](std::size_t axis) { return static_cast<std::uint32_t>(tensor.size(axis)); };
  const auto stride = [&](std::size_t axis) {
    return size(axis) > 1 ? tensor.strides[axis] : tensor.size(3);
  };
  return {static_cast<const std::uint16_t*>(tensor.data),
          {size(3), size(2), size(1), size(0)},
          {stride(2), stride(1), stride(0)},
          static_cast<std::uint32_t>(box_tokens)};
}

}  // namespace

MonarchSm90Plan::MonarchSm90Plan(const MonarchProblem& problem, const DeviceLimits& limits)
    : problem_(problem) {
  MONARCH_CHECK_CODE(limits.compute_capability == 90, kUnsupported, kRoom,
                     "cuda-sm90a needs compute capability 9.0; this device has ",
                     limits.compute_capability / 10, ".", limits.compute_capability % 10);
  MonarchForwardArgs& g = geometry_.forward;
  g = monarch_geometry(problem);
  MONARCH_CHECK_CODE(g.block_cols >= sm90::kMinCols && g.block_cols <= sm90::kMaxCols, kUnsupported,
                     kRoom, "cuda-sm90a takes blocks of ", sm90::kMinCols, " to ", sm90::kMaxCols,
                     " columns, not ", g.block_cols, "; cuda-sm80 takes others");
  g.shared = sm90::shared_layout(g.padded_head_dim);
  const int limit = limits.shared_bytes_per_block;
  if (static_cast<int>(g.shared.bytes) > limit) refuse_block_cols(g, g.shared.bytes, limit);
  g.row_fragments = g.block_rows <= 16 ? 1 : 2;
  const int tile_rows = 16 * g.row_fragments;
  g.row_tiles = (g.block_rows + tile_rows - 1) / tile_rows;
  geometry_.block_tiles = (g.block_cols + sm90::kTileCols - 1) / sm90::kTileCols;
  choose_cluster();
  choose_splits(g, std::int64_t{g.batch} * g.num_heads * g.num_groups * g.column_tiles,
                limits.multiprocessors);
}

// The largest of those that leave the fewest thread blocks without a tile.
void MonarchSm90Plan::choose_cluster() {
  MonarchForwardArgs& g = geometry_.forward;
  geometry_.tiles =
      narrow(std::int64_t{g.group_blocks} * geometry_.block_tiles * g.row_tiles, "tiles");
  int best = std::numeric_limits<int>::max();
  for (int cluster = sm90::kMaxCluster; cluster > 1; --cluster) {
    const int rounded =
        narrow(std::int64_t{geometry_.tiles} + cluster - 1, "tiles") / cluster * cluster;
    if (rounded - geometry_.tiles >= best) continue;
    best = rounded - geometry_.tiles;
    geometry_.cluster = cluster;
    g.column_tiles = rounded;
  }
}

std::size_t MonarchSm90Plan::workspace_bytes() const { return split_bytes(geometry_.forward); }

MonarchSm90Args MonarchSm90Plan::args(const ConstTensorView& q, const ConstTensorView& k,
                                      const ConstTensorView& v, const TensorView& out, float* lse,
                                      Workspace workspace, const Encode& encode) const {
  MonarchSm90Args args = geometry_;
  bind_tensors(args.forward, problem_, q, k, v, out, lse, workspace);
  args.q = encode(tiles_of(q, sm90::kTileCols));
  args.k = encode(tiles_of(k, args.forward.block_cols));
  args.v = encode(tiles_of(v, args.forward.block_cols));
  return args;
}

void MonarchSm90Plan::run(const ConstTensorView& q, const ConstTensorView& k,
                          const ConstTensorView& v, const TensorView& out, float* lse,
                          Workspace workspace, Stream stream) const {
  const Encode encode = [&](const TensorTiles& tiles) { return encode_tensor_map(tiles, q.dtype); };
  launch_monarch_sm90(args(q, k, v, out, lse, workspace, encode), q.dtype, stream);
}

}  // namespace monarch::attention::cuda
