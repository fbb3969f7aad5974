#include "monarch/training/trained_network.h"

#include <cmath>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

models::TensorMap requiring_gradients(models::TensorMap parameters) {
  for (auto& [name, parameter] : parameters) parameter.set_requires_grad(true);
  return parameters;
}

}  // namespace

TrainedNetwork::TrainedNetwork(models::TensorMap parameters, UpdateOptions options,
                               const Team& team)
    : parameters_(requiring_gradients(std::move(parameters))),
      options_(options),
      team_(team),
      adamw_(parameters_, options.adamw) {}

double TrainedNetwork::update() {
  team_.average_gradients(parameters_);
  const double norm = clip_gradients(parameters_, options_.max_grad_norm);
  if (std::isfinite(norm)) adamw_.step(options_.lr);
  return norm;
}

void TrainedNetwork::load(const models::TensorMap& parameters, const models::TensorMap& optimizer) {
  copy_into(parameters_, parameters, "saved parameters");
  adamw_.load_state(optimizer);
}

void copy_into(const models::TensorMap& into, const models::TensorMap& tensors,
               const std::string& what) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : into) {
    const auto found = tensors.find(name);
    MONARCH_CHECK(found != tensors.end() && found->second.sizes() == tensor.sizes(),
                  "[monarch_training] the ", what, " have no tensor '", name, "' of shape ",
                  shape_string(tensor.sizes()), "; they belong to another model");
    tensor.detach().copy_(found->second);
  }
}

}  // namespace monarch::training
