// Layers of a frozen transformer that lie in the CPU's memory and come to the device one by one: a
// teacher of 14B beside a generator that is trained.
#pragma once

#include "monarch/models/wan/layer_source.h"

namespace monarch::training {

class OffloadedLayers : public models::LayerSource {
 public:
  // Of tensors on the CPU, which are shared; those outside the layers are copied to `device`. Where
  // that is the CPU nothing is copied at all.
  OffloadedLayers(const models::TensorMap& whole, at::Device device);

  const models::TensorMap& take(size_t layer) override;
  void gradients_are_ready(size_t /*layer*/) override {}  // frozen

  // The tensors outside the layers, on the device.
  const models::TensorMap& outside() const { return outside_; }

 private:
  at::Device device_;
  std::vector<models::TensorMap> layers_;  // on the CPU
  models::TensorMap outside_, taken_;
};

}  // namespace monarch::training
