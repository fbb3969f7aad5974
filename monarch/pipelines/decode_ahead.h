// Decoding of chunks beside the denoising of the next ones.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <optional>

#include "monarch/ops/side_stream.h"

namespace monarch::pipelines {

// On a GPU a chunk is decoded on a second stream while the caller denoises the next one, and
// delivered when that one comes; on a CPU, where nothing runs beside, at once.
class DecodeAhead {
 public:
  // Frames of latents, in order; may keep a cache of its own.
  using Decode = std::function<at::Tensor(const at::Tensor& latents)>;
  // Receives frames in the host's memory; false: no more are wanted.
  using Deliver = std::function<bool(const at::Tensor& frames)>;

  DecodeAhead(at::Device device, Decode decode, Deliver deliver)
      : DecodeAhead(device, std::move(decode), std::move(deliver), !device.is_cpu()) {}
  // `ahead`: whether deliveries are one chunk late.
  DecodeAhead(at::Device device, Decode decode, Deliver deliver, bool ahead);

  // False if the receiver wants no more.
  bool add(const at::Tensor& latents);
  // Delivers what is left, unless the receiver wanted no more.
  void finish();

 private:
  void deliver(ops::HostTensor frames);

  Decode decode_;
  Deliver deliver_;
  bool ahead_;
  bool stopped_ = false;
  std::optional<ops::HostTensor> waiting_;
  ops::SideStream side_;  // the first to go: it waits for what uses the others
};

}  // namespace monarch::pipelines
