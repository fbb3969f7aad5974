#include "monarch/ops/kernels.h"

#include <span>

#include "monarch/ops/device.h"
#include "monarch/ops/parallel.h"
#include "monarch/ops/tensor_views.h"
#include "monarch/ops/usage.h"

namespace monarch::ops {
namespace {

using attention::Direction;
using attention::Implementation;
using attention::Problem;

// The reference is the definition, not a way to compute: the composition is faster.
constexpr std::string_view kReference = "reference";

struct Choice {
  const Implementation* implementation = nullptr;
  std::string refusal;  // of the most general, if none will do
};

Choice choose(const Problem& problem, const at::Tensor& q, bool gradients) {
  Choice choice;
  const std::optional<DType> dtype = float_dtype(q.scalar_type());
  if (!dtype) {
    choice.refusal = str_cat("the kernels have no tensors of type ", q.scalar_type());
    return choice;
  }
  const DeviceScope scope(q);
  for (const Implementation* candidate : attention::implementations(scope.device())) {
    if (candidate->name() == kReference) continue;
    std::string refusal = candidate->refusal(problem, *dtype, Direction::kForward);
    if (refusal.empty() && gradients)
      refusal = candidate->refusal(problem, *dtype, Direction::kBackward);
    if (refusal.empty()) return {candidate, ""};
    choice.refusal = std::move(refusal);
  }
  return choice;
}

const Implementation& chosen(const Problem& problem, const at::Tensor& q, bool gradients) {
  const Choice choice = choose(problem, q, gradients);
  MONARCH_CHECK_CODE(choice.implementation != nullptr, kUnsupported, "[monarch_ops] ",
                     choice.refusal);
  return *choice.implementation;
}

}  // namespace

void torch_loop(int /*num_threads*/, std::int64_t num_tasks,
                const std::function<void(std::int64_t, int)>& body) {
  parallel_tasks(num_tasks,
                 [&](int64_t task, int64_t thread) { body(task, static_cast<int>(thread)); });
}

std::string kernels_refusal(const Problem& problem, const at::Tensor& q, bool gradients) {
  const std::string refusal = device_refusal(q.device());
  return refusal.empty() ? choose(problem, q, gradients).refusal : refusal;
}

std::tuple<at::Tensor, at::Tensor> run_forward(const Problem& problem, const at::Tensor& q,
                                               const at::Tensor& k, const at::Tensor& v,
                                               const std::string& label, bool keep_lse) {
  const Implementation& kernels = chosen(problem, q, keep_lse);
  const DeviceScope scope(q);
  const int threads = static_cast<int>(num_task_threads());
  const at::Tensor queries = for_kernels(q), keys = for_kernels(k), values = for_kernels(v);
  at::Tensor out = at::empty(q.sizes(), q.options());
  at::Tensor lse = at::empty({0}, q.options().dtype(at::kFloat));
  if (keep_lse) lse.resize_({q.size(0), q.size(2), q.size(1)});
  kernels.forward(problem,
                  {.q = const_view(queries),
                   .k = const_view(keys),
                   .v = const_view(values),
                   .out = view(out),
                   .lse = keep_lse ? lse.data_ptr<float>() : nullptr,
                   .stream = scope.stream()},
                  threads, DeviceWorkspace(q, kernels.forward_workspace(problem, threads)).span(),
                  torch_loop);
  count_attention(label, "forward", std::string(kernels.name()), "", map_size(problem));
  return {out, lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> run_backward(
    const Problem& problem, const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
    const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse, const std::string& label) {
  const Implementation& kernels = chosen(problem, q, true);
  const DeviceScope scope(q);
  const int threads = static_cast<int>(num_task_threads());
  const at::Tensor queries = for_kernels(q), keys = for_kernels(k), values = for_kernels(v),
                   gradient = for_kernels(grad_out);
  at::Tensor grad_q = at::empty(q.sizes(), q.options());
  at::Tensor grad_k = at::empty(k.sizes(), k.options());
  at::Tensor grad_v = at::empty(v.sizes(), v.options());
  kernels.backward(problem,
                   {.q = const_view(queries),
                    .k = const_view(keys),
                    .v = const_view(values),
                    .out = const_view(out),
                    .grad_out = const_view(gradient),
                    .grad_q = view(grad_q),
                    .grad_k = view(grad_k),
                    .grad_v = view(grad_v),
                    .lse = lse.const_data_ptr<float>(),
                    .stream = scope.stream()},
                   threads, DeviceWorkspace(q, kernels.backward_workspace(problem, threads)).span(),
                   torch_loop);
  count_attention(label, "backward", std::string(kernels.name()));
  return {grad_q, grad_k, grad_v};
}

}  // namespace monarch::ops
