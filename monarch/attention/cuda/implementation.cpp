#include "monarch/attention/cuda/implementation.h"

#include "monarch/attention/cuda/monarch_backward.h"
#include "monarch/attention/cuda/monarch_forward.h"
#include "monarch/attention/cuda/vmonarch_forward.h"

namespace monarch::attention::cuda {
namespace {

[[noreturn]] void refuse(std::string_view what) {
  fail(ErrorCode::kUnsupported, "[monarch_attention] cuda-sm80 has no ", what);
}

const MonarchProblem& with_backward(const Problem& problem) {
  const auto* monarch = std::get_if<MonarchProblem>(&problem);
  if (monarch == nullptr) refuse("backward but that of monarchrt");
  return *monarch;
}

}  // namespace

std::string CudaImplementation::refusal(const Problem& problem, DType dtype,
                                        Direction direction) const {
  std::visit([](const auto& p) { validate(p); }, problem);
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat(name(), " takes BF16 or F16, not ", dtype_name(dtype));
  }
  try {  // the plans say what they cannot do
    if (direction == Direction::kForward) {
      forward_workspace(problem, 1);
    } else {
      backward_workspace(problem, 1);
    }
  } catch (const Error& error) {
    constexpr std::string_view kRoom = "[monarch_attention] ";
    const std::string_view text = error.what();
    return std::string(text.starts_with(kRoom) ? text.substr(kRoom.size()) : text);
  }
  return "";
}

std::size_t CudaImplementation::forward_workspace(const Problem& problem,
                                                  int /*num_threads*/) const {
  if (const auto* monarch = std::get_if<MonarchProblem>(&problem)) {
    return MonarchForwardPlan(*monarch, current_device_limits()).workspace_bytes();
  }
  if (const auto* vmonarch = std::get_if<VMonarchProblem>(&problem)) {
    return VMonarchForwardPlan(*vmonarch, current_device_limits()).workspace_bytes();
  }
  refuse("dense attention");
}

std::size_t CudaImplementation::backward_workspace(const Problem& problem,
                                                   int /*num_threads*/) const {
  const MonarchProblem& monarch = with_backward(problem);
  return MonarchBackwardPlan(monarch, current_device_limits()).workspace_bytes();
}

void CudaImplementation::forward(const Problem& problem, const ForwardTensors& t,
                                 int /*num_threads*/, std::span<std::byte> workspace,
                                 const ParallelLoop& /*loop*/) const {
  const Workspace space{workspace.data(), workspace.size()};
  if (const auto* monarch = std::get_if<MonarchProblem>(&problem)) {
    MonarchForwardPlan(*monarch, current_device_limits())
        .run(t.q, t.k, t.v, t.out, t.lse, space, t.stream);
  } else if (const auto* vmonarch = std::get_if<VMonarchProblem>(&problem)) {
    if (t.lse != nullptr) refuse("lse of vmonarch, whose backward it does not have; pass null");
    VMonarchForwardPlan(*vmonarch, current_device_limits())
        .run(t.q, t.k, t.v, t.out, space, t.stream);
  } else {
    refuse("dense attention");
  }
}

void CudaImplementation::backward(const Problem& problem, const BackwardTensors& t,
                                  int /*num_threads*/, std::span<std::byte> workspace,
                                  const ParallelLoop& /*loop*/) const {
  const MonarchProblem& monarch = with_backward(problem);
  MonarchBackwardPlan(monarch, current_device_limits())
      .run({t.q, t.k, t.v, t.out, t.grad_out, t.lse, t.grad_q, t.grad_k, t.grad_v},
           {workspace.data(), workspace.size()}, t.stream);
}

}  // namespace monarch::attention::cuda
