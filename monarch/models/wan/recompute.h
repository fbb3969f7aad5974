// Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): a part of a network keeps its
// inputs alone and is computed again when its gradients are asked for.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

namespace monarch::models {

struct Recomputable {
  std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)> run;
  std::function<void()> after_backward = {};  // when the gradients of a run are there
};

// part.run(inputs), differentiable once in the inputs that require gradients. Leaves that it
// captures get their gradients in .grad, as by backward(); torch::autograd::grad() does not see
// them. It is called again in the backward pass: it must give the same values then, and own what it
// uses. In both calls gradients are recorded, so the values are those of a plain call.
std::vector<at::Tensor> recomputed(Recomputable part, const std::vector<at::Tensor>& inputs);

}  // namespace monarch::models
