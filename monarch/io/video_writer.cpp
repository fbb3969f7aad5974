#include "monarch/io/video_writer.h"

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/io/text.h"

namespace monarch::io {

VideoFormat video_format(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".mp4") return VideoFormat::kMp4;
  if (extension == ".gif") return VideoFormat::kGif;
  MONARCH_CHECK(extension.empty() && !path.empty(), "[monarch_io] cannot write a video as ",
                quote(path.string()),
                "; use a name ending in .mp4 or .gif, or one without extension for a folder of "
                "PNG frames");
  return VideoFormat::kPngFolder;
}

std::unique_ptr<VideoWriter> open_video_writer(const std::filesystem::path& path,
                                               std::int64_t width, std::int64_t height, double fps,
                                               bool gpu_encoder) {
  const VideoTarget target{path, video_format(path), width, height, fps, gpu_encoder};
  constexpr std::int64_t kMaxSide = 16384;
  MONARCH_CHECK(width > 0 && height > 0 && width <= kMaxSide && height <= kMaxSide,
                "[monarch_io] cannot write a video of ", width, "x", height,
                " pixels; sides of 1 to ", kMaxSide, " were expected");
  MONARCH_CHECK(std::isfinite(fps) && fps > 0 && fps <= 1000, "[monarch_io] cannot write ", fps,
                " frames per second; a number up to 1000 was expected");
  if (target.format == VideoFormat::kPngFolder) return open_png_writer(target);
  MONARCH_CHECK(target.format != VideoFormat::kMp4 || (width % 2 == 0 && height % 2 == 0),
                "[monarch_io] an .mp4 needs even sides, but the video has ", width, "x", height,
                " pixels; choose an even size or write a .gif");
  return open_ffmpeg_writer(target);
}

void VideoTarget::check_frame(std::span<const std::uint8_t> rgb) const {
  MONARCH_CHECK(rgb.size() == static_cast<std::size_t>(width * height * 3),
                "[monarch_io] a frame of ", width, "x", height, " needs ", width * height * 3,
                " bytes, but ", rgb.size(), " were given");
}

}  // namespace monarch::io
