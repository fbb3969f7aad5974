#include <algorithm>
#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/step_forward.h"

namespace monarch::attention::cuda {

StepForwardPlan::StepForwardPlan(const StepProblem& problem, const DeviceLimits& limits)
    : problem_(problem), geometry_(step_geometry(problem, limits)) {
  check_shared_bytes(
      geometry_,
      sm80::flash_shared_bytes(geometry_.padded_head_dim, sm80::FlashKind::kFactorWithValues),
      limits);
}

std::size_t StepForwardPlan::workspace_bytes() const {
  const std::int64_t rows = row_entries(geometry_) * (4 * geometry_.head_dim + 4);
  return static_cast<std::size_t>(geometry_.heads * (rows + 4 * query_entries(geometry_)));
}

std::vector<StepArgs> StepForwardPlan::launches(const ConstTensorView& q, const ConstTensorView& k,
                                                const ConstTensorView& v, const TensorView& out,
                                                float* lse, Workspace workspace) const {
  const Sizes sizes = step_sizes(problem_, q.dtype);
  StepArgs args = geometry_;
  args.q = operand(q, "q", args.q_tokens, sizes);
  args.k = operand(k, "k", args.kv_tokens, sizes);
  args.v = operand(v, "v", args.kv_tokens, sizes);
  args.out = result(out, "out", args.q_tokens, sizes);
  args.out_lse = lse;
  check_workspace(workspace, workspace_bytes());
  const std::int64_t rows = args.heads * row_entries(args);
  args.a_l = static_cast<std::uint16_t*>(workspace.data);
  args.a_r = args.next_a_r = args.y = args.a_l + rows * args.head_dim;
  args.entropy = reinterpret_cast<float*>(args.a_r + rows * args.head_dim);
  args.lse = args.entropy + rows;

  std::vector<StepArgs> launches;
  const int heads = static_cast<int>(sizes.batch * sizes.num_heads);
  for (; args.first_head < heads; args.first_head += args.heads) {
    args.heads = std::min(args.heads, heads - args.first_head);
    launches.push_back(args);
  }
  return launches;
}

void StepForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                          const ConstTensorView& v, const TensorView& out, float* lse,
                          Workspace workspace, Stream stream) const {
  for (const StepArgs& args : launches(q, k, v, out, lse, workspace)) {
    launch_step_forward(args, q.dtype, stream);
  }
}

}  // namespace monarch::attention::cuda
