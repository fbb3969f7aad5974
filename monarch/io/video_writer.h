// Inside of video.h: the writers behind open_video_writer.
#pragma once

#include "monarch/io/video.h"

namespace monarch::io {

struct VideoTarget {
  std::filesystem::path path;
  VideoFormat format = VideoFormat::kMp4;
  std::int64_t width = 0;
  std::int64_t height = 0;
  double fps = 0;
  bool gpu_encoder = false;

  void check_frame(std::span<const std::uint8_t> rgb) const;  // throws kInvalidArgument
};

std::unique_ptr<VideoWriter> open_ffmpeg_writer(const VideoTarget& target);
std::unique_ptr<VideoWriter> open_png_writer(const VideoTarget& target);

}  // namespace monarch::io
