#include "monarch/training/adamw.h"

#include <ATen/ops/_fused_adamw.h>

#include <cmath>

#include "monarch/base/error.h"

namespace monarch::training {

AdamW::AdamW(const models::TensorMap& parameters, AdamWOptions options) : options_(options) {
  for (const auto& [name, parameter] : parameters) {
    names_.push_back(name);
    parameters_.push_back(parameter);
    first_.push_back(at::zeros_like(parameter.detach()));
    second_.push_back(at::zeros_like(parameter.detach()));
    counts_.push_back(at::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false)));
  }
}

void AdamW::step(double lr) {
  const at::NoGradGuard no_grad;
  // Two groups: what decays and what does not.
  for (const bool decayed : {true, false}) {
    std::vector<at::Tensor> parameters, gradients, first, second, counts;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const at::Tensor& gradient = parameters_[i].grad();
      const bool decays = options_.decay_vectors || parameters_[i].squeeze().dim() >= 2;
      if (!gradient.defined() || decays != decayed) continue;
      counts_[i] += 1;
      parameters.push_back(parameters_[i].detach());
      gradients.push_back(gradient);
      first.push_back(first_[i]);
      second.push_back(second_[i]);
      counts.push_back(counts_[i]);
    }
    if (parameters.empty()) continue;
    at::_fused_adamw_(parameters, gradients, first, second, {}, counts, lr, options_.beta1,
                      options_.beta2, decayed ? options_.weight_decay : 0.0, options_.eps, false,
                      false);
  }
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

models::TensorMap AdamW::state() const {
  models::TensorMap state;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    state["m." + names_[i]] = first_[i];
    state["v." + names_[i]] = second_[i];
    state["steps." + names_[i]] = counts_[i];
  }
  return state;
}

void AdamW::load_state(const models::TensorMap& state) {
  const auto load = [&](const std::string& name, at::Tensor& into) {
    const auto found = state.find(name);
    MONARCH_CHECK(found != state.end() && found->second.sizes() == into.sizes(),
                  "[monarch_training] the optimizer state has no tensor '", name, "' of shape ",
                  shape_string(into.sizes()),
                  "; it belongs to another model, so start without --resume");
    into.copy_(found->second);
  };
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    load("m." + names_[i], first_[i]);
    load("v." + names_[i], second_[i]);
    load("steps." + names_[i], counts_[i]);
  }
}

double clip_gradients(const models::TensorMap& parameters, double limit,
                      const std::function<double(double)>& sum_over_ranks) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  double sum = 0.0;
  if (!gradients.empty()) {
    for (const at::Tensor& norm : at::_foreach_norm(gradients))
      sum += std::pow(norm.item<double>(), 2);
  }
  if (sum_over_ranks) sum = sum_over_ranks(sum);
  const double total = std::sqrt(sum);
  if (total > limit && !gradients.empty()) at::_foreach_mul_(gradients, limit / (total + 1e-6));
  return total;
}

}  // namespace monarch::training
