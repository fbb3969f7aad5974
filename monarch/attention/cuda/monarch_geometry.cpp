#include "monarch/attention/cuda/monarch_geometry.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numbers>

#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda {

MonarchForwardArgs monarch_geometry(const MonarchProblem& problem) {
  validate(problem);
  MONARCH_CHECK_CODE(problem.num_iters == 1, kUnsupported, kRoom,
                     "the fused CUDA kernel does one refinement step; got num_iters ",
                     problem.num_iters);
  const BlockLayout layout = problem.layout();
  MonarchForwardArgs g;
  narrow(std::max(problem.q_tokens(), problem.kv_tokens()) +
             problem.f_tied * layout.frame_tokens() + layout.frame_tokens(),
         "tokens");
  g.batch = narrow(problem.batch, "batches");
  g.num_heads = narrow(problem.num_heads, "heads");
  g.head_dim = static_cast<int>(problem.head_dim);
  g.padded_head_dim = padded_head_dim(problem.head_dim);
  g.q_tokens = static_cast<int>(problem.q_tokens());
  g.scale_log2 = static_cast<float>(problem.scale() * std::numbers::log2e);
  g.height = static_cast<int>(problem.height);
  g.width = static_cast<int>(problem.width);
  g.f_tied = static_cast<int>(problem.f_tied);
  g.h_reduce = static_cast<int>(problem.h_reduce);
  g.w_reduce = static_cast<int>(problem.w_reduce);
  g.kv_block_order = problem.kv_block_order;
  g.block_rows = static_cast<int>(layout.block_rows());
  g.block_cols = static_cast<int>(layout.block_cols());
  const std::int64_t causal_blocks =
      problem.block_causal_size == 0 ? 0 : problem.block_causal_size / layout.block_tokens();
  g.group_blocks = static_cast<int>(causal_blocks == 0 ? problem.num_q_blocks() : causal_blocks);
  g.group_kv_blocks =
      static_cast<int>(causal_blocks == 0 ? problem.num_kv_blocks() : causal_blocks);
  g.num_groups = static_cast<int>(problem.num_q_blocks() / g.group_blocks);
  g.column_tiles =
      narrow((std::int64_t{g.group_blocks} * g.block_cols + sm80::kTileCols - 1) / sm80::kTileCols,
             "column tiles");
  return g;
}

bool choose_ring(MonarchForwardArgs& args, int limit) {
  constexpr std::array<std::array<int, 2>, 5> kChoices{{{2, 4}, {2, 3}, {1, 4}, {1, 3}, {1, 2}}};
  return std::ranges::any_of(kChoices, [&](const auto& choice) {
    args.step_rows = choice[0];
    args.stages = choice[1];
    args.shared = sm80::shared_layout(args.padded_head_dim, args.block_cols, choice[0], choice[1]);
    return static_cast<int>(args.shared.bytes) <= limit;
  });
}

void refuse_block_cols(const MonarchForwardArgs& args, std::uint32_t needed, int limit) {
  fail(ErrorCode::kUnsupported, kRoom, "blocks of ", args.block_cols, " columns with head_dim ",
       args.head_dim, " need ", needed, " bytes of shared memory; this device has ", limit,
       " a thread block. Use a larger w_reduce");
}

}  // namespace monarch::attention::cuda
