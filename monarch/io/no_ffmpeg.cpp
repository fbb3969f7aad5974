// Stands in for the ffmpeg_*.cpp files in builds without FFmpeg.
#include "monarch/base/error.h"
#include "monarch/io/live_video.h"
#include "monarch/io/video_writer.h"

namespace monarch::io {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path) {
  fail(ErrorCode::kUnsupported, "[monarch_io] cannot open ", path.string(),
       ": built without FFmpeg; install libavcodec-dev, libavformat-dev and libswscale-dev and "
       "build again, or write PNG frames into a folder");
}

[[noreturn]] void refuse_live() {
  fail(ErrorCode::kUnsupported,
       "[monarch_io] cannot stream video: built without FFmpeg; install libavcodec-dev, "
       "libavformat-dev and libswscale-dev and build again");
}

}  // namespace

bool has_ffmpeg() { return false; }
Image read_image(const std::filesystem::path& path) { refuse(path); }
Video read_video(const std::filesystem::path& path, std::int64_t /*max_frames*/) { refuse(path); }
std::unique_ptr<VideoWriter> open_ffmpeg_writer(const VideoTarget& target) { refuse(target.path); }

class FragmentedMp4::Impl {};
FragmentedMp4::FragmentedMp4(const LiveVideoFormat& /*format*/) { refuse_live(); }
FragmentedMp4::~FragmentedMp4() = default;
void FragmentedMp4::write(std::span<const std::uint8_t> /*rgb*/) { refuse_live(); }
std::string FragmentedMp4::take() { refuse_live(); }
const std::string& FragmentedMp4::mime_type() const { refuse_live(); }

class JpegEncoder::Impl {};
JpegEncoder::JpegEncoder(const LiveVideoFormat& /*format*/) { refuse_live(); }
JpegEncoder::~JpegEncoder() = default;
std::string JpegEncoder::encode(std::span<const std::uint8_t> /*rgb*/) { refuse_live(); }

}  // namespace monarch::io
