// Where finished frames go: a file, a socket, a test.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace monarch::pipelines {

class FrameSink {
 public:
  virtual ~FrameSink() = default;

  // Receives frames [B, 3, T, H, W] in [0, 1] as soon as they are decoded, in order; `first_frame`
  // is the position of the first one in the video. Returning false stops the generation after this
  // chunk; what was delivered stays valid.
  virtual bool write(const at::Tensor& frames, std::int64_t first_frame) = 0;
};

// The decoder's [-1, 1] as [0, 1], clamped.
at::Tensor to_unit_range(const at::Tensor& pixels);

// [B, 3, T, H, W] in [0, 1] as bytes [B, T, H, W, 3] where the frames are, rounded to nearest.
at::Tensor to_bytes(const at::Tensor& frames);
// The same on the CPU.
at::Tensor to_rgb8(const at::Tensor& frames);

}  // namespace monarch::pipelines
