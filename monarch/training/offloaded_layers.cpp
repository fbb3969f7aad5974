#include "monarch/training/offloaded_layers.h"

#include "monarch/models/wan/layer_names.h"

namespace monarch::training {

OffloadedLayers::OffloadedLayers(const models::TensorMap& whole, at::Device device)
    : device_(device) {
  for (const auto& [name, tensor] : whole) {
    const std::optional<size_t> layer = models::layer_of(name);
    if (!layer) {
      outside_[name] = tensor.to(device);
      continue;
    }
    if (layers_.size() <= *layer) layers_.resize(*layer + 1);
    layers_[*layer][name] = tensor;
  }
}

const models::TensorMap& OffloadedLayers::take(size_t layer) {
  taken_.clear();  // before the next one needs the room
  for (const auto& [name, tensor] : layers_.at(layer)) taken_[name] = tensor.to(device_);
  return taken_;
}

}  // namespace monarch::training
