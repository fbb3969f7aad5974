#include "monarch/attention/cuda/sm90_implementation.h"

#include "monarch/attention/cuda/monarch_sm90.h"

namespace monarch::attention::cuda {
namespace {

MonarchSm90Plan plan_of(const Problem& problem) {
  const auto* monarch = std::get_if<MonarchProblem>(&problem);
  MONARCH_CHECK_CODE(monarch != nullptr, kUnsupported, kRoom, "cuda-sm90a does monarchrt alone");
  return {*monarch, current_device_limits()};
}

[[noreturn]] void refuse_backward() {
  fail(ErrorCode::kUnsupported, kRoom, "cuda-sm90a has no backward");
}

}  // namespace

std::string Sm90Implementation::refusal(const Problem& problem, DType dtype,
                                        Direction direction) const {
  std::visit([](const auto& p) { validate(p); }, problem);
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat(name(), " takes BF16 or F16, not ", dtype_name(dtype));
  }
  try {  // the plan says what it cannot do
    if (direction == Direction::kBackward) refuse_backward();
    plan_of(problem);
  } catch (const Error& error) {
    return without_room(error.what());
  }
  return "";
}

std::size_t Sm90Implementation::forward_workspace(const Problem& problem,
                                                  int /*num_threads*/) const {
  return plan_of(problem).workspace_bytes();
}

std::size_t Sm90Implementation::backward_workspace(const Problem& /*problem*/,
                                                   int /*num_threads*/) const {
  refuse_backward();
}

void Sm90Implementation::forward(const Problem& problem, const ForwardTensors& t,
                                 int /*num_threads*/, std::span<std::byte> workspace,
                                 const ParallelLoop& /*loop*/) const {
  plan_of(problem).run(t.q, t.k, t.v, t.out, t.lse, {workspace.data(), workspace.size()}, t.stream);
}

void Sm90Implementation::backward(const Problem& /*problem*/, const BackwardTensors& /*tensors*/,
                                  int /*num_threads*/, std::span<std::byte> /*workspace*/,
                                  const ParallelLoop& /*loop*/) const {
  refuse_backward();
}

}  // namespace monarch::attention::cuda
