// Videos as a sequence of RGB frames: written one by one, read whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "monarch/io/image.h"

namespace monarch::io {

// What a file name asks for: .mp4 is H.264 (yuv420p, BT.709, index in front, plays in browsers),
// .gif a looping GIF with a palette for each frame; a name without extension, or ending in '/', is
// a folder of frame_00000.png, ...
enum class VideoFormat { kMp4, kGif, kPngFolder };
// Throws kInvalidArgument for any other extension.
VideoFormat video_format(const std::filesystem::path& path);

// Takes frames as they are made. Everything goes to a temporary name; finish() renames, so a video
// under its final name is whole. Without finish() the destructor removes what was written. Throws
// kInvalidArgument (sizes; H.264 needs even ones), kIo (full disk, unwritable folder), kUnsupported
// (.mp4 or .gif when built without FFmpeg, or without an H.264 encoder).
class VideoWriter {
 public:
  virtual ~VideoWriter() = default;
  // rgb: [height, width, 3]
  virtual void write(std::span<const std::uint8_t> rgb) = 0;
  virtual void finish() = 0;
};
// `gpu_encoder`: H.264 through NVENC where FFmpeg, driver, GPU and size allow it; a line in the log
// says which encoder runs.
std::unique_ptr<VideoWriter> open_video_writer(const std::filesystem::path& path,
                                               std::int64_t width, std::int64_t height, double fps,
                                               bool gpu_encoder = false);

struct Video {
  std::int64_t width = 0;
  std::int64_t height = 0;
  double fps = 0;
  std::vector<std::vector<std::uint8_t>> frames;  // each [height, width, 3]
};

// At most `max_frames` frames from the start. Errors as read_image.
Video read_video(const std::filesystem::path& path, std::int64_t max_frames = 100'000);

bool has_ffmpeg();  // whether this build can read videos and write .mp4 and .gif

}  // namespace monarch::io
