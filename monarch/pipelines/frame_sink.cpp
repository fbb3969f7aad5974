#include "monarch/pipelines/frame_sink.h"

#include "monarch/base/error.h"

namespace monarch::pipelines {

at::Tensor to_unit_range(const at::Tensor& pixels) {
  return (pixels.to(at::kFloat).clamp(-1, 1) * 0.5 + 0.5).clamp(0, 1);
}

at::Tensor to_bytes(const at::Tensor& frames) {
  MONARCH_CHECK(frames.dim() == 5 && frames.size(1) == 3,
                "[monarch_pipelines] frames are [B, 3, T, H, W], got ",
                shape_string(frames.sizes()));
  return (frames.to(at::kFloat) * 255.0)
      .round()
      .clamp(0, 255)
      .to(at::kByte)
      .permute({0, 2, 3, 4, 1})
      .contiguous();
}

at::Tensor to_rgb8(const at::Tensor& frames) { return to_bytes(frames).cpu(); }

}  // namespace monarch::pipelines
