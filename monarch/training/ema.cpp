#include "monarch/training/ema.h"

#include <algorithm>

#include "monarch/base/error.h"

namespace monarch::training {

Ema::Ema(const models::TensorMap& parameters, double decay) : decay_(decay) {
  for (const auto& [name, parameter] : parameters) average_[name] = parameter.detach().clone();
}

void Ema::update(const models::TensorMap& parameters) { mix(parameters, decay_); }

void Ema::update(const models::TensorMap& parameters, int64_t step) {
  const auto steps = static_cast<double>(step);
  mix(parameters, std::min(decay_, (1 + steps) / (10 + steps)));
}

void Ema::mix(const models::TensorMap& parameters, double decay) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> averages, current;
  for (const auto& [name, average] : average_) {
    averages.push_back(average);
    current.push_back(parameters.at(name).detach());
  }
  at::_foreach_lerp_(averages, current, 1 - decay);
}

void Ema::load(const models::TensorMap& average) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : average_) {
    const auto found = average.find(name);
    MONARCH_CHECK(found != average.end() && found->second.sizes() == tensor.sizes(),
                  "[monarch_training] the averaged weights have no tensor '", name, "' of shape ",
                  shape_string(tensor.sizes()),
                  "; they belong to another model, so start without --resume");
    tensor.copy_(found->second);
  }
}

}  // namespace monarch::training
