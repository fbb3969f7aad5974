#include <algorithm>
#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/sm80/gradient_kind.h"
#include "monarch/attention/cuda/step_backward.h"

namespace monarch::attention::cuda {

StepBackwardPlan::StepBackwardPlan(const StepProblem& problem, const DeviceLimits& limits)
    : problem_(problem), geometry_(step_geometry(problem, limits)) {
  check_shared_bytes(geometry_, sm80::step_gradient_shared_bytes(geometry_.padded_head_dim),
                     limits);
}

std::size_t StepBackwardPlan::place(std::byte* base, StepGradientArgs& args) const {
  StepArgs& step = args.step;
  const std::int64_t heads = geometry_.heads;
  const std::int64_t iterations = geometry_.num_iters;
  args.row_entries = heads * row_entries(geometry_);
  args.query_entries = heads * query_entries(geometry_);
  std::size_t bytes = 0;
  const auto take = [&]<typename T>(T*& pointer, std::int64_t count) {
    pointer = base == nullptr ? nullptr : reinterpret_cast<T*>(base + bytes);
    bytes += (static_cast<std::size_t>(count) * sizeof(T) + 15) / 16 * 16;
  };
  const std::int64_t row_values = args.row_entries * geometry_.head_dim;
  take(step.a_l, iterations * row_values);
  take(step.a_r, (iterations - 1) * row_values);
  for (std::uint16_t** rows : {&args.values, &args.d_a_l, &args.d_y}) take(*rows, row_values);
  step.y = args.values;
  take(step.entropy, iterations * args.row_entries);
  take(step.row_lse, iterations * args.row_entries);
  take(args.c_r, (iterations - 1) * args.row_entries);
  for (float** rows : {&args.d_entropy, &args.delta, &args.d_c_r}) take(*rows, args.row_entries);
  take(step.lse, iterations * args.query_entries);
  take(args.mean, args.query_entries);
  take(args.first_frame_delta, heads * geometry_.recomputed_tokens);
  take(args.sum_q, heads * geometry_.q_tokens * geometry_.head_dim);
  take(args.sum_k, heads * geometry_.kv_tokens * geometry_.head_dim);
  take(args.sum_v, heads * geometry_.kv_tokens * geometry_.head_dim);
  return bytes;
}

std::size_t StepBackwardPlan::workspace_bytes() const {
  StepGradientArgs args;
  return place(nullptr, args);
}

std::vector<StepGradientArgs> StepBackwardPlan::launches(const MonarchBackwardTensors& tensors,
                                                         Workspace workspace) const {
  const Sizes sizes = step_sizes(problem_, tensors.q.dtype);
  StepGradientArgs args;
  StepArgs& step = args.step;
  step = geometry_;
  step.q = operand(tensors.q, "q", step.q_tokens, sizes);
  step.k = operand(tensors.k, "k", step.kv_tokens, sizes);
  step.v = operand(tensors.v, "v", step.kv_tokens, sizes);
  args.grad_out = operand(tensors.grad_out, "grad_out", step.q_tokens, sizes);
  args.grad_q = result(tensors.grad_q, "grad_q", step.q_tokens, sizes);
  args.grad_k = result(tensors.grad_k, "grad_k", step.kv_tokens, sizes);
  args.grad_v = result(tensors.grad_v, "grad_v", step.kv_tokens, sizes);
  if (step.recomputed_tokens > 0) {
    MONARCH_CHECK(tensors.lse != nullptr, kRoom,
                  "the backward needs the forward's lse; pass one to its run()");
    args.out = operand(tensors.out, "out", step.q_tokens, sizes);
    args.out_lse = tensors.lse;
  }
  args.entropy_gradient = std::holds_alternative<MonarchProblem>(problem_);
  check_workspace(workspace, workspace_bytes());
  place(static_cast<std::byte*>(workspace.data), args);

  std::vector<StepGradientArgs> launches;
  const int heads = static_cast<int>(sizes.batch * sizes.num_heads);
  for (; step.first_head < heads; step.first_head += step.heads) {
    step.heads = std::min(step.heads, heads - step.first_head);
    launches.push_back(args);
  }
  return launches;
}

void StepBackwardPlan::run(const MonarchBackwardTensors& tensors, Workspace workspace,
                           Stream stream) const {
  for (const StepGradientArgs& args : launches(tensors, workspace)) {
    launch_step_backward(args, tensors.q.dtype, stream);
  }
}

}  // namespace monarch::attention::cuda
