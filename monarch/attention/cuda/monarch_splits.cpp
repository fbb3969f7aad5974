#include "monarch/attention/cuda/monarch_splits.h"

#include <algorithm>
#include <limits>

#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda {

// Time is counted in chunks of key rows, during which a multiprocessor reads a chunk's keys and
// values.
void choose_splits(MonarchForwardArgs& args, std::int64_t tiles, std::int64_t at_once) {
  const auto chunks_of = [&](std::int64_t groups) {
    return (groups * args.group_kv_blocks * args.block_rows + sm80::kChunkRows - 1) /
           sm80::kChunkRows;
  };
  const double chunk_bytes = 2.0 * 2 * sm80::kChunkRows * args.block_cols * args.head_dim;
  const double result_bytes =
      2.0 * 4 * double(args.batch) * args.num_heads * args.q_tokens * args.head_dim;
  constexpr std::int64_t kMaxSplits = 32;
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t splits = 1; splits <= std::min(kMaxSplits, chunks_of(1)); ++splits) {
    const std::int64_t waves = (tiles * splits + at_once - 1) / at_once;
    const std::int64_t chunks = (chunks_of(args.num_groups) + splits - 1) / splits;
    auto cost = double(waves * chunks);
    if (splits > 1) cost += double(splits) * result_bytes / (chunk_bytes * double(at_once));
    if (cost >= best) continue;
    best = cost;
    args.num_splits = static_cast<int>(splits);
  }
  args.num_blocks = narrow(tiles * args.num_splits, "thread blocks");
}

std::size_t split_bytes(const MonarchForwardArgs& args) {
  if (args.num_splits == 1) return 0;
  const auto rows =
      static_cast<std::size_t>(args.num_splits) * static_cast<std::size_t>(args.batch) *
      static_cast<std::size_t>(args.num_heads) * static_cast<std::size_t>(args.q_tokens);
  return rows * (static_cast<std::size_t>(args.head_dim) + 1) * sizeof(float);
}

void bind_tensors(MonarchForwardArgs& args, const MonarchProblem& problem, const ConstTensorView& q,
                  const ConstTensorView& k, const ConstTensorView& v, const TensorView& out,
                  float* lse, const Workspace& workspace) {
  const MonarchProblem& p = problem;
  const Sizes sizes{p.batch, p.num_heads, p.head_dim, q.dtype};
  args.q = operand(q, "q", p.q_tokens(), sizes);
  args.k = operand(k, "k", p.kv_tokens(), sizes);
  args.v = operand(v, "v", p.kv_tokens(), sizes);
  args.out = result(out, "out", p.q_tokens(), sizes);
  args.lse = lse;
  const std::size_t needed = split_bytes(args);
  if (needed == 0) return;
  check_workspace(workspace, needed);
  args.partial_out = static_cast<float*>(workspace.data);
  args.partial_lse = args.partial_out + std::int64_t{args.num_splits} * args.batch *
                                            args.num_heads * args.q_tokens * args.head_dim;
}

}  // namespace monarch::attention::cuda
