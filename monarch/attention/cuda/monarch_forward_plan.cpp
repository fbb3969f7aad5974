#include "monarch/attention/cuda/monarch_forward.h"

#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/monarch_splits.h"

namespace monarch::attention::cuda {

MonarchForwardPlan::MonarchForwardPlan(const MonarchProblem& problem, const DeviceLimits& limits)
    : problem_(problem), geometry_(monarch_geometry(problem)) {
  choose_tiles(limits);
  const MonarchForwardArgs& g = geometry_;
  choose_splits(geometry_,
                std::int64_t{g.batch} * g.num_heads * g.num_groups * g.column_tiles * g.row_tiles,
                std::int64_t{limits.multiprocessors} * resident_blocks_);
}

// Tiles of 16 rows need half the registers, so two thread blocks share a multiprocessor where their
// shared memory (and the kilobyte each that the system keeps) lets them.
void MonarchForwardPlan::choose_tiles(const DeviceLimits& limits) {
  MonarchForwardArgs& g = geometry_;
  g.row_fragments = g.block_rows <= 16 ? 1 : 2;
  const int tile_rows = 16 * g.row_fragments;
  g.row_tiles = (g.block_rows + tile_rows - 1) / tile_rows;
  const int limit = limits.shared_bytes_per_block;
  resident_blocks_ = g.row_fragments == 1 && choose_ring(g, (limit - 1024) / 2) ? 2 : 1;
  if (resident_blocks_ == 1 && !choose_ring(g, limit)) refuse_block_cols(g, g.shared.bytes, limit);
}

std::size_t MonarchForwardPlan::workspace_bytes() const { return split_bytes(geometry_); }

MonarchForwardArgs MonarchForwardPlan::args(const ConstTensorView& q, const ConstTensorView& k,
                                            const ConstTensorView& v, const TensorView& out,
                                            float* lse, Workspace workspace) const {
  MonarchForwardArgs args = geometry_;
  bind_tensors(args, problem_, q, k, v, out, lse, workspace);
  return args;
}

void MonarchForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                             const ConstTensorView& v, const TensorView& out, float* lse,
                             Workspace workspace, Stream stream) const {
  launch_monarch_forward(args(q, k, v, out, lse, workspace), q.dtype, stream);
}

}  // namespace monarch::attention::cuda
