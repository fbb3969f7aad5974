#include "monarch/training/muon.h"

#include <cmath>

#include "monarch/base/error.h"

namespace monarch::training {

Muon::Muon(const models::TensorMap& parameters,
           const std::function<bool(const std::string&)>& wanted, MuonOptions options)
    : options_(options) {
  for (const auto& [name, parameter] : parameters) {
    if (parameter.dim() != 2 || !wanted(name)) continue;
    names_.push_back(name);
    parameters_.push_back(parameter);
    momenta_.push_back(at::zeros_like(parameter));
  }
}

at::Tensor orthogonalise(const at::Tensor& matrices, int64_t iterations) {
  at::Tensor x = matrices / (matrices.square().sum({1, 2}, true).sqrt() + 1e-7);
  for (int64_t i = 0; i < iterations; ++i) {
    const at::Tensor gram = at::bmm(x, x.transpose(1, 2));
    const at::Tensor polynomial = at::baddbmm(gram, gram, gram, -4.7750, 2.0315);
    x = at::baddbmm(x, polynomial, x, 3.4445, 1.0);
  }
  return x;
}

void Muon::step(double lr) {
  const at::NoGradGuard no_grad;
  // Matrices of one shape go through the iterations together; the longer side last.
  std::map<std::pair<int64_t, int64_t>, std::vector<std::size_t>> by_shape;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& gradient = parameters_[i].mutable_grad();
    if (!gradient.defined()) continue;
    momenta_[i].mul_(options_.momentum).add_(gradient);
    by_shape[{parameters_[i].size(0), parameters_[i].size(1)}].push_back(i);
  }
  for (const auto& [shape, indices] : by_shape) {
    std::vector<at::Tensor> updates;
    for (const std::size_t i : indices) {  // Nesterov: the momentum one step ahead
      updates.push_back(at::add(parameters_[i].grad(), momenta_[i], options_.momentum));
    }
    const bool tall = shape.first > shape.second;
    at::Tensor stacked = at::stack(updates);
    if (tall) stacked = stacked.transpose(1, 2);
    stacked = orthogonalise(stacked, options_.iterations);
    if (tall) stacked = stacked.transpose(1, 2);
    const double scale = 0.2 * std::sqrt(static_cast<double>(std::max(shape.first, shape.second)));
    for (std::size_t n = 0; n < indices.size(); ++n) {
      at::Tensor parameter = parameters_[indices[n]].detach();
      if (options_.weight_decay > 0) parameter.mul_(1 - lr * options_.weight_decay);
      parameter.add_(stacked[static_cast<int64_t>(n)], -lr * scale);
    }
  }
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

models::TensorMap Muon::state() const {
  models::TensorMap state;
  for (std::size_t i = 0; i < names_.size(); ++i) state["momentum." + names_[i]] = momenta_[i];
  return state;
}

void Muon::load_state(const models::TensorMap& state) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const auto found = state.find("momentum." + names_[i]);
    MONARCH_CHECK(found != state.end() && found->second.sizes() == momenta_[i].sizes(),
                  "[monarch_training] the optimizer state has no tensor 'momentum.", names_[i],
                  "' of shape ", shape_string(momenta_[i].sizes()),
                  "; it belongs to another model, so start without --resume");
    momenta_[i].copy_(found->second);
  }
}

}  // namespace monarch::training
