// The transformer of a parity case.
#pragma once

#include <algorithm>

#include "apps/parity/gradients.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/weights.h"

namespace monarch::apps {

// The keys of the case that describe the model; the others describe the op.
inline models::WanConfig model_config(const Json& config) {
  Json model = Json::object();
  for (const std::string& key : models::WanConfig::keys()) {
    if (config.contains(key)) model[key] = config.at(key);
  }
  return models::WanConfig::from_json(model, "config");
}

// Marks the tensors that config.grad_inputs and config.grad_params name; returns them.
inline NamedTensors require_gradients(const ParityInput& in, const models::TensorMap& params,
                                      const NamedTensors& inputs) {
  NamedTensors wanted;
  const auto mark = [&](const char* key, const NamedTensors& from) {
    if (!in.config().contains(key)) return;
    for (const std::string name : in.config().at(key)) {
      wanted.emplace(name, at::Tensor(from.at(name)).requires_grad_());
    }
  };
  mark("grad_inputs", inputs);
  mark("grad_params", params);
  return wanted;
}

}  // namespace monarch::apps
