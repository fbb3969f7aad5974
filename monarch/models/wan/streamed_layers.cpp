#include "monarch/models/wan/streamed_layers.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/layer_names.h"

namespace monarch::models {
namespace {

c10::Stream current_stream(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

StreamedLayers::StreamedLayers(const TensorMap& whole, at::Device device) : device_(device) {
  for (const auto& [name, tensor] : whole) {
    const std::optional<size_t> layer = layer_of(name);
    if (!layer) {
      outside_[name] = tensor.to(device);
      continue;
    }
    if (layers_.size() <= *layer) layers_.resize(*layer + 1);
    const at::Tensor host = tensor.cpu().contiguous();
    layers_[*layer][name] = device.is_cuda() ? host.pin_memory() : host;
  }
  MONARCH_CHECK(!layers_.empty(), "[monarch_models] there are no layers among the tensors");
  if (!device.is_cpu())
    copies_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

// What is queued may still write to the slots, or read from them.
StreamedLayers::~StreamedLayers() {
  if (!copies_) return;
  copies_->synchronize();
  current_stream(device_).synchronize();
}

int64_t StreamedLayers::bytes() const {
  size_t total = 0;
  for (const TensorMap& layer : layers_) {
    for (const auto& [name, tensor] : layer) total += tensor.nbytes();
  }
  return static_cast<int64_t>(total);
}

// Tensors of a layer follow one another by name as those of any other do.
void StreamedLayers::fill(Slot& slot, size_t layer) {
  c10::OptionalStreamGuard beside;
  if (copies_) {
    if (slot.read) slot.read->block(*copies_);
    beside.reset_stream(*copies_);
  }
  TensorMap old = std::exchange(slot.tensors, {});
  auto room = old.begin();
  for (const auto& [name, tensor] : layers_.at(layer)) {
    at::Tensor to = room == old.end() ? at::empty_like(tensor, tensor.options().device(device_))
                                      : (room++)->second;
    slot.tensors[name] = to.copy_(tensor, /*non_blocking=*/true);
  }
  slot.layer = layer;
  if (!copies_) return;
  if (!slot.filled) slot.filled.emplace(device_.type());
  slot.filled->record(*copies_);
}

const TensorMap& StreamedLayers::take(size_t layer) {
  Slot& last = slots_[current_];
  if (copies_ && last.layer) {
    if (!last.read) last.read.emplace(device_.type());
    last.read->record(current_stream(device_));
  }
  current_ = 1 - current_;
  Slot& taken = slots_[current_];
  if (taken.layer != layer) fill(taken, layer);
  if (copies_) taken.filled->block(current_stream(device_));
  fill(last, (layer + 1) % layers_.size());
  return taken.tensors;
}

void StreamedLayers::gradients_are_ready(size_t layer) {
  fail(ErrorCode::kUnsupported, "[monarch_models] layer ", layer,
       " came from the host for a pass without gradients, and one with gradients was made");
}

}  // namespace monarch::models
