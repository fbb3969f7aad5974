#include <algorithm>
#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/monarch_backward.h"
#include "monarch/attention/cuda/sm80/gradient_tiles.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {

MonarchBackwardPlan::MonarchBackwardPlan(const MonarchProblem& problem, const DeviceLimits& limits)
    : problem_(problem) {
  MonarchBackwardArgs& args = geometry_;
  MonarchForwardArgs& g = args.forward;
  g = monarch_geometry(problem);
  const int limit = limits.shared_bytes_per_block;
  if (!choose_ring(g, limit)) refuse_block_cols(g, g.shared.bytes, limit);
  args.shared = sm80::gradient_layout(g.padded_head_dim, g.block_cols);
  if (static_cast<int>(args.shared.bytes) > limit) refuse_block_cols(g, args.shared.bytes, limit);
  args.scale = static_cast<float>(problem.scale());
  args.kv_rows = narrow(problem.num_kv_blocks() * g.block_rows, "key rows");
  args.columns = narrow(problem.num_q_blocks() * g.block_cols, "query columns");
  args.col_parts = (g.block_cols + sm80::kGradientCols - 1) / sm80::kGradientCols;
  const std::int64_t tiles = std::int64_t{g.column_tiles} * g.num_groups;
  const std::int64_t units = problem.batch * problem.num_heads;
  args.units = static_cast<int>(
      std::clamp<std::int64_t>((limits.multiprocessors + tiles - 1) / tiles, 1, units));
  narrow(args.units * tiles * g.block_rows, "thread blocks");
  narrow(std::int64_t{args.units} * args.kv_rows * args.col_parts, "thread blocks");
  narrow(units * tiles, "thread blocks");
}

std::int64_t MonarchBackwardPlan::floats_a_unit() const {
  const MonarchBackwardArgs& g = geometry_;
  const std::int64_t head_dim = g.forward.head_dim;
  return std::int64_t{g.columns} * g.kv_rows * (2 * head_dim + 1) + g.forward.q_tokens * head_dim;
}

std::size_t MonarchBackwardPlan::workspace_bytes() const {
  return static_cast<std::size_t>(geometry_.units * floats_a_unit()) * sizeof(float);
}

std::vector<MonarchBackwardArgs> MonarchBackwardPlan::launches(
    const MonarchBackwardTensors& tensors, Workspace workspace) const {
  const MonarchProblem& p = problem_;
  const Sizes sizes{p.batch, p.num_heads, p.head_dim, tensors.q.dtype};
  MONARCH_CHECK(tensors.lse != nullptr,
                "[monarch_attention] the backward needs the forward's lse; pass one to its run()");
  check_workspace(workspace, workspace_bytes());
  MonarchBackwardArgs args = geometry_;
  MonarchForwardArgs& forward = args.forward;
  forward.q = operand(tensors.q, "q", p.q_tokens(), sizes);
  forward.k = operand(tensors.k, "k", p.kv_tokens(), sizes);
  forward.v = operand(tensors.v, "v", p.kv_tokens(), sizes);
  args.out = operand(tensors.out, "out", p.q_tokens(), sizes);
  args.grad_out = operand(tensors.grad_out, "grad_out", p.q_tokens(), sizes);
  args.grad_q = result(tensors.grad_q, "grad_q", p.q_tokens(), sizes);
  args.grad_k = result(tensors.grad_k, "grad_k", p.kv_tokens(), sizes);
  args.grad_v = result(tensors.grad_v, "grad_v", p.kv_tokens(), sizes);
  args.lse = tensors.lse;

  const std::int64_t sums = std::int64_t{args.units} * args.columns * args.kv_rows;
  args.d_a_l = static_cast<float*>(workspace.data);
  args.d_y = args.d_a_l + sums * forward.head_dim;
  args.grad_q_part = args.d_y + sums * forward.head_dim;
  args.d_c_l = args.grad_q_part + std::int64_t{args.units} * forward.q_tokens * forward.head_dim;

  std::vector<MonarchBackwardArgs> launches;
  const int units = forward.batch * forward.num_heads;
  const int at_once = args.units;
  for (int first = 0; first < units; first += at_once) {
    args.first_unit = first;
    args.units = std::min(at_once, units - first);
    launches.push_back(args);
  }
  return launches;
}

void MonarchBackwardPlan::run(const MonarchBackwardTensors& tensors, Workspace workspace,
                              Stream stream) const {
  for (const MonarchBackwardArgs& args : launches(tensors, workspace)) {
    launch_monarch_backward(args, tensors.q.dtype, stream);
  }
}

}  // namespace monarch::attention::cuda
