// Stands in for the ffmpeg_*.cpp files in builds without FFmpeg.
#include "monarch/base/error.h"
#include "monarch/io/video_writer.h"

namespace monarch::io {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path) {
  fail(ErrorCode::kUnsupported, "[monarch_io] cannot open ", path.string(),
       ": built without FFmpeg; install libavcodec-dev, libavformat-dev and libswscale-dev and "
       "build again, or write PNG frames into a folder");
}

}  // namespace

bool has_ffmpeg() { return false; }
Image read_image(const std::filesystem::path& path) { refuse(path); }
Video read_video(const std::filesystem::path& path, std::int64_t /*max_frames*/) { refuse(path); }
std::unique_ptr<VideoWriter> open_ffmpeg_writer(const VideoTarget& target) { refuse(target.path); }

}  // namespace monarch::io
