#include "monarch/attention/cuda/implementation.h"

#include "monarch/attention/cuda/monarch_backward.h"
#include "monarch/attention/cuda/monarch_forward.h"
#include "monarch/attention/cuda/step_backward.h"
#include "monarch/attention/cuda/step_forward.h"
#include "monarch/attention/cuda/tensors.h"

namespace monarch::attention::cuda {
namespace {

[[noreturn]] void refuse(std::string_view what) {
  fail(ErrorCode::kUnsupported, "[monarch_attention] cuda-sm80 has no ", what);
}

// The problem of the fused kernels, or null.
const MonarchProblem* fused(const Problem& problem) {
  const auto* monarch = std::get_if<MonarchProblem>(&problem);
  return monarch != nullptr && monarch->num_iters == 1 ? monarch : nullptr;
}

StepProblem stepwise(const Problem& problem) {
  if (const auto* monarch = std::get_if<MonarchProblem>(&problem)) return *monarch;
  if (const auto* vmonarch = std::get_if<VMonarchProblem>(&problem)) return *vmonarch;
  refuse("dense attention");
}

}  // namespace

std::string CudaImplementation::refusal(const Problem& problem, DType dtype,
                                        Direction direction) const {
  std::visit([](const auto& p) { validate(p); }, problem);
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat(name(), " takes BF16 or F16, not ", dtype_name(dtype));
  }
  if (std::holds_alternative<DenseProblem>(problem))
    return str_cat(name(), " has no dense attention");
  try {  // the plans say what they cannot do
    if (direction == Direction::kForward) {
      forward_workspace(problem, 1);
    } else {
      backward_workspace(problem, 1);
    }
  } catch (const Error& error) {
    return without_room(error.what());
  }
  return "";
}

std::size_t CudaImplementation::forward_workspace(const Problem& problem,
                                                  int /*num_threads*/) const {
  if (const MonarchProblem* monarch = fused(problem)) {
    return MonarchForwardPlan(*monarch, current_device_limits()).workspace_bytes();
  }
  return StepForwardPlan(stepwise(problem), current_device_limits()).workspace_bytes();
}

std::size_t CudaImplementation::backward_workspace(const Problem& problem,
                                                   int /*num_threads*/) const {
  if (const MonarchProblem* monarch = fused(problem)) {
    return MonarchBackwardPlan(*monarch, current_device_limits()).workspace_bytes();
  }
  return StepBackwardPlan(stepwise(problem), current_device_limits()).workspace_bytes();
}

void CudaImplementation::forward(const Problem& problem, const ForwardTensors& t,
                                 int /*num_threads*/, std::span<std::byte> workspace,
                                 const ParallelLoop& /*loop*/) const {
  const Workspace space{workspace.data(), workspace.size()};
  const auto run = [&](const auto& plan) {
    plan.run(t.q, t.k, t.v, t.out, t.lse, space, t.stream);
  };
  if (const MonarchProblem* monarch = fused(problem)) {
    run(MonarchForwardPlan(*monarch, current_device_limits()));
  } else {
    run(StepForwardPlan(stepwise(problem), current_device_limits()));
  }
}

void CudaImplementation::backward(const Problem& problem, const BackwardTensors& t,
                                  int /*num_threads*/, std::span<std::byte> workspace,
                                  const ParallelLoop& /*loop*/) const {
  const auto run = [&](const auto& plan) {
    plan.run({t.q, t.k, t.v, t.out, t.grad_out, t.lse, t.grad_q, t.grad_k, t.grad_v},
             {workspace.data(), workspace.size()}, t.stream);
  };
  if (const MonarchProblem* monarch = fused(problem)) {
    run(MonarchBackwardPlan(*monarch, current_device_limits()));
  } else {
    run(StepBackwardPlan(stepwise(problem), current_device_limits()));
  }
}

}  // namespace monarch::attention::cuda
