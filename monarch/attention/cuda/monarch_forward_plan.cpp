#include "monarch/attention/cuda/monarch_forward.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda {

MonarchForwardPlan::MonarchForwardPlan(const MonarchProblem& problem, const DeviceLimits& limits)
    : problem_(problem), geometry_(monarch_geometry(problem)) {
  choose_tiles(limits);
  choose_splits(limits);
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

// Splits fill the last wave of thread blocks, and cost a round trip of their float results through
// memory. Time is counted in chunks of key rows, during which a multiprocessor reads a chunk's keys
// and values.
void MonarchForwardPlan::choose_splits(const DeviceLimits& limits) {
  MonarchForwardArgs& g = geometry_;
  const std::int64_t tiles =
      std::int64_t{g.batch} * g.num_heads * g.num_groups * g.column_tiles * g.row_tiles;
  const auto chunks_of = [&](std::int64_t groups) {
    return (groups * g.group_kv_blocks * g.block_rows + sm80::kChunkRows - 1) / sm80::kChunkRows;
  };
  const double chunk_bytes = 2.0 * 2 * sm80::kChunkRows * g.block_cols * g.head_dim;
  const double result_bytes = 2.0 * 4 * double(g.batch) * g.num_heads * g.q_tokens * g.head_dim;
  const std::int64_t at_once = std::int64_t{limits.multiprocessors} * resident_blocks_;
  constexpr std::int64_t kMaxSplits = 32;
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t splits = 1; splits <= std::min(kMaxSplits, chunks_of(1)); ++splits) {
    const std::int64_t waves = (tiles * splits + at_once - 1) / at_once;
    const std::int64_t chunks = (chunks_of(g.num_groups) + splits - 1) / splits;
    auto cost = double(waves * chunks);
    if (splits > 1) cost += double(splits) * result_bytes / (chunk_bytes * double(at_once));
    if (cost >= best) continue;
    best = cost;
    g.num_splits = static_cast<int>(splits);
  }
  g.num_blocks = narrow(tiles * g.num_splits, "thread blocks");
}

std::size_t MonarchForwardPlan::workspace_bytes() const {
  const MonarchForwardArgs& g = geometry_;
  if (g.num_splits == 1) return 0;
  const auto rows = static_cast<std::size_t>(g.num_splits) * static_cast<std::size_t>(g.batch) *
                    static_cast<std::size_t>(g.num_heads) * static_cast<std::size_t>(g.q_tokens);
  return rows * (static_cast<std::size_t>(g.head_dim) + 1) * sizeof(float);
}

MonarchForwardArgs MonarchForwardPlan::args(const ConstTensorView& q, const ConstTensorView& k,
                                            const ConstTensorView& v, const TensorView& out,
                                            float* lse, Workspace workspace) const {
  MonarchForwardArgs args = geometry_;
  const MonarchProblem& p = problem_;
  const Sizes sizes{p.batch, p.num_heads, p.head_dim, q.dtype};
  args.q = operand(q, "q", p.q_tokens(), sizes);
  args.k = operand(k, "k", p.kv_tokens(), sizes);
  args.v = operand(v, "v", p.kv_tokens(), sizes);
  args.out = result(out, "out", p.q_tokens(), sizes);
  args.lse = lse;
  const std::size_t needed = workspace_bytes();
  if (needed == 0) return args;
  check_workspace(workspace, needed);
  args.partial_out = static_cast<float*>(workspace.data);
  args.partial_lse = args.partial_out + std::int64_t{args.num_splits} * args.batch *
                                            args.num_heads * args.q_tokens * args.head_dim;
  return args;
}

void MonarchForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                             const ConstTensorView& v, const TensorView& out, float* lse,
                             Workspace workspace, Stream stream) const {
  launch_monarch_forward(args(q, k, v, out, lse, workspace), q.dtype, stream);
}

}  // namespace monarch::attention::cuda
