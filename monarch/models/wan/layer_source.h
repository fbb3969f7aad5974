// Where the parameters of layers come from that do not lie in memory all the time: other ranks, or
// another device.
#pragma once

#include <cstddef>
#include <memory>

#include "monarch/models/wan/weights.h"

namespace monarch::models {

// A layer's tensors in one pass that keeps activations, which refer to them. Between forward and
// backward the tensors have no memory.
class HeldLayer {
 public:
  virtual ~HeldLayer() = default;
  virtual const TensorMap& tensors() const = 0;
  virtual void leave() = 0;                // after the forward pass
  virtual void come_back() = 0;            // before the backward pass, with the same values
  virtual void gradients_are_ready() = 0;  // after it: they are in the tensors
};

class LayerSource {
 public:
  virtual ~LayerSource() = default;
  // A layer's tensors by name ("blocks.3.self_attn.q.weight"). Their memory is free again when
  // another layer was taken and nothing that was computed from them is left. Layers are taken by
  // one thread, in the order in which a pass runs through them, and again from the last to the
  // first in its backward pass.
  virtual const TensorMap& take(size_t layer) = 0;
  // After the backward pass through the layer that was taken last: the gradients are in its
  // tensors.
  virtual void gradients_are_ready(size_t layer) = 0;
  // The same for a pass that keeps activations; null where layers must be computed again.
  virtual std::shared_ptr<HeldLayer> hold(size_t /*layer*/) { return nullptr; }
};

}  // namespace monarch::models
