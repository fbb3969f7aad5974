// Gradients of sum(out * input.grad_out), for cases that ask for them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/parity/registry.h"

namespace monarch::apps {

using NamedTensors = std::map<std::string, at::Tensor>;

// Adds grad.<name> of every tensor in `wanted` to `output`; all of them must require gradients or
// depend on tensors that do.
inline void add_gradients(const at::Tensor& out, const at::Tensor& grad_out,
                          const NamedTensors& wanted, ParityOutput& output) {
  std::vector<at::Tensor> inputs;
  for (const auto& [name, tensor] : wanted) inputs.push_back(tensor);
  const std::vector<at::Tensor> grads =
      torch::autograd::grad({out}, inputs, {grad_out}, /*retain_graph=*/std::nullopt,
                            /*create_graph=*/false, /*allow_unused=*/true);
  size_t index = 0;
  for (const auto& [name, tensor] : wanted) {
    const at::Tensor& grad = grads[index++];
    output["grad." + name] = grad.defined() ? grad : at::zeros_like(tensor);
  }
}

}  // namespace monarch::apps
