#include "monarch/pipelines/read_frames.h"

#include <vector>

#include "monarch/base/error.h"
#include "monarch/io/image.h"
#include "monarch/io/video.h"

namespace monarch::pipelines {
namespace {

at::Tensor rgb_to_frame(const std::vector<std::uint8_t>& rgb, std::int64_t width,
                        std::int64_t height) {
  return at::from_blob(const_cast<std::uint8_t*>(rgb.data()), {height, width, 3}, at::kByte)
      .to(at::kFloat)
      .permute({2, 0, 1});
}

}  // namespace

at::Tensor read_frames(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
                       std::int64_t max_frames) {
  std::vector<at::Tensor> frames;
  if (max_frames == 1) {
    const io::Image image = io::read_image(path);
    frames.push_back(rgb_to_frame(image.rgb, image.width, image.height));
  } else {
    const io::Video video = io::read_video(path, max_frames);
    for (const auto& rgb : video.frames)
      frames.push_back(rgb_to_frame(rgb, video.width, video.height));
  }
  MONARCH_CHECK_CODE(!frames.empty(), kCorrupt, "[monarch_pipelines] ", path.string(),
                     " holds no frames");
  at::Tensor pixels = at::stack(frames);  // [T, 3, h, w]
  if (pixels.size(2) != height || pixels.size(3) != width) {
    pixels =
        at::_upsample_bilinear2d_aa(pixels, {height, width}, /*align_corners=*/false).clamp(0, 255);
  }
  return pixels.permute({1, 0, 2, 3}).unsqueeze(0) / 127.5 - 1;
}

}  // namespace monarch::pipelines
