// Layers of a transformer that lie in the host's memory and come to the device one by one, each
// while the one before computes: a model larger than the device's memory. A pass then takes at
// least the time that its weights take to be copied.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <array>
#include <optional>
#include <vector>

#include "monarch/models/wan/layer_source.h"

namespace monarch::models {

// For passes without gradients: the device holds two layers, and a third one overwrites the first.
class StreamedLayers : public LayerSource {
 public:
  // Tensors of the layers are kept on the CPU, where a GPU can read them (pinned); those outside
  // the layers are copied to `device`. All layers have the same shapes.
  StreamedLayers(const TensorMap& whole, at::Device device);
  ~StreamedLayers() override;
  StreamedLayers(const StreamedLayers&) = delete;
  StreamedLayers& operator=(const StreamedLayers&) = delete;

  const TensorMap& take(size_t layer) override;
  void gradients_are_ready(size_t layer) override;  // throws: there are none

  // The tensors outside the layers, on the device.
  const TensorMap& outside() const { return outside_; }
  // What a pass copies.
  int64_t bytes() const;

 private:
  struct Slot {
    TensorMap tensors;  // on the device, named after the layer they hold
    std::optional<size_t> layer;
    std::optional<c10::Event> filled, read;
  };

  void fill(Slot& slot, size_t layer);

  at::Device device_;
  std::optional<c10::Stream> copies_;  // of a GPU, beside the stream that computes
  std::vector<TensorMap> layers_;      // on the CPU
  TensorMap outside_;
  std::array<Slot, 2> slots_;
  size_t current_ = 0;  // the slot that was taken last
};

}  // namespace monarch::models
