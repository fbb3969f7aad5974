// A part of a network whose backward pass is a unit of its own: it may keep nothing but its inputs
// (activation checkpointing: Chen et al. 2016, arXiv 1604.06174), and others are told when it runs.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

namespace monarch::models {

struct NetworkPart {
  std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)> run;
  bool keep_activations = false;  // else it runs again in the backward pass
  std::function<void()> after_forward = {}, before_backward = {};
  std::function<void()> after_backward = {};  // when the gradients of a run are there
};

// part.run(inputs), differentiable once in the inputs that require gradients. Leaves that it
// captures get their gradients in .grad, as by backward(); torch::autograd::grad() does not see
// them. If it is called again in the backward pass it must give the same values then, and own what
// it uses. In all calls gradients are recorded, so the values are those of a plain call.
std::vector<at::Tensor> run_part(NetworkPart part, const std::vector<at::Tensor>& inputs);

}  // namespace monarch::models
