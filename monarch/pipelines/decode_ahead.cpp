#include "monarch/pipelines/decode_ahead.h"

#include <utility>

namespace monarch::pipelines {

DecodeAhead::DecodeAhead(at::Device device, Decode decode, Deliver deliver, bool ahead)
    : decode_(std::move(decode)), deliver_(std::move(deliver)), ahead_(ahead), side_(device) {}

bool DecodeAhead::add(const at::Tensor& latents) {
  std::optional<ops::HostTensor> before = std::exchange(waiting_, side_.run(latents, decode_));
  if (!ahead_) before = std::exchange(waiting_, std::nullopt);
  if (before) deliver(std::move(*before));
  return !stopped_;
}

void DecodeAhead::finish() {
  std::optional<ops::HostTensor> last = std::exchange(waiting_, std::nullopt);
  if (last && !stopped_) deliver(std::move(*last));
}

void DecodeAhead::deliver(ops::HostTensor frames) { stopped_ = !deliver_(frames.get()); }

}  // namespace monarch::pipelines
