#include "monarch/attention/cuda/implementation.h"

#include "monarch/attention/cuda/monarch_backward.h"
#include "monarch/attention/cuda/monarch_forward.h"

namespace monarch::attention::cuda {
namespace {

constexpr std::string_view kOnlyMonarch = "cuda-sm80 has kernels for monarchrt alone";

const MonarchProblem& monarch_problem(const Problem& problem) {
  const auto* monarch = std::get_if<MonarchProblem>(&problem);
  MONARCH_CHECK_CODE(monarch != nullptr, kUnsupported, "[monarch_attention] ", kOnlyMonarch);
  return *monarch;
}

}  // namespace

std::string CudaImplementation::refusal(const Problem& problem, DType dtype,
                                        Direction direction) const {
  std::visit([](const auto& p) { validate(p); }, problem);
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat(name(), " takes BF16 or F16, not ", dtype_name(dtype));
  }
  if (!std::holds_alternative<MonarchProblem>(problem)) return std::string(kOnlyMonarch);
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
  return MonarchForwardPlan(monarch_problem(problem), current_device_limits()).workspace_bytes();
}

std::size_t CudaImplementation::backward_workspace(const Problem& problem,
                                                   int /*num_threads*/) const {
  return MonarchBackwardPlan(monarch_problem(problem), current_device_limits()).workspace_bytes();
}

void CudaImplementation::forward(const Problem& problem, const ForwardTensors& t,
                                 int /*num_threads*/, std::span<std::byte> workspace,
                                 const ParallelLoop& /*loop*/) const {
  MonarchForwardPlan(monarch_problem(problem), current_device_limits())
      .run(t.q, t.k, t.v, t.out, t.lse, {workspace.data(), workspace.size()}, t.stream);
}

void CudaImplementation::backward(const Problem& problem, const BackwardTensors& t,
                                  int /*num_threads*/, std::span<std::byte> workspace,
                                  const ParallelLoop& /*loop*/) const {
  MonarchBackwardPlan(monarch_problem(problem), current_device_limits())
      .run({t.q, t.k, t.v, t.out, t.grad_out, t.lse, t.grad_q, t.grad_k, t.grad_v},
           {workspace.data(), workspace.size()}, t.stream);
}

}  // namespace monarch::attention::cuda
