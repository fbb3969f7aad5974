#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/ffmpeg.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/video.h"

namespace monarch::io {
namespace {

using namespace ffmpeg;

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path) {
    quiet();
    const MappedFile exists(path);  // its errors say more than FFmpeg's
    AVFormatContext* format = nullptr;
    check(avformat_open_input(&format, url(path).c_str(), nullptr, nullptr));
    format_.reset(format);
    check(avformat_find_stream_info(format, nullptr));
    const AVCodec* decoder = nullptr;
    stream_ = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    check(stream_);
    codec_.reset(avcodec_alloc_context3(decoder));
    frame_.reset(av_frame_alloc());
    packet_.reset(av_packet_alloc());
    MONARCH_CHECK_CODE(codec_ && frame_ && packet_, kOutOfMemory,
                       "[monarch_io] not enough memory to read ", path_.string());
    check(avcodec_parameters_to_context(codec_.get(), format_->streams[stream_]->codecpar));
    check(avcodec_open2(codec_.get(), decoder, nullptr));
  }

  double fps() const { return av_q2d(format_->streams[stream_]->avg_frame_rate); }

  // False at the end.
  bool next(Image& image) {
    while (true) {
      const int received = avcodec_receive_frame(codec_.get(), frame_.get());
      if (received == AVERROR_EOF) return false;
      if (received != AVERROR(EAGAIN)) {
        check(received);
        convert(image);
        return true;
      }
      feed();
    }
  }

 private:
  void feed() {
    while (true) {
      const int read = av_read_frame(format_.get(), packet_.get());
      if (read == AVERROR_EOF) {
        check(avcodec_send_packet(codec_.get(), nullptr));
        return;
      }
      check(read);
      const bool ours = packet_->stream_index == stream_;
      const int sent = ours ? avcodec_send_packet(codec_.get(), packet_.get()) : 0;
      av_packet_unref(packet_.get());
      check(sent);
      if (ours) return;
    }
  }

  void convert(Image& image) {
    constexpr int kMaxSide = 16384;
    const int width = frame_->width, height = frame_->height;
    MONARCH_CHECK_CODE(width > 0 && height > 0 && width <= kMaxSide && height <= kMaxSide, kCorrupt,
                       "[monarch_io] ", path_.string(), " has frames of ", width, "x", height,
                       " pixels; sides of 1 to ", kMaxSide, " are read");
    const auto format = static_cast<AVPixelFormat>(frame_->format);
    scaler_.reset(sws_getCachedContext(
        scaler_.release(), width, height, format, width, height, AV_PIX_FMT_RGB24,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr));
    MONARCH_CHECK_CODE(scaler_ != nullptr, kUnsupported, "[monarch_io] ", path_.string(),
                       " has pixels of a format that cannot be converted to RGB");
    // Unmarked video follows the convention: BT.601 (the converter's default) except for HD marks.
    if (frame_->colorspace == AVCOL_SPC_BT709) {
      constexpr int kOne = 1 << 16;
      const int full = frame_->color_range == AVCOL_RANGE_JPEG ? 1 : 0;
      const int* bt709 = sws_getCoefficients(SWS_CS_ITU709);
      sws_setColorspaceDetails(scaler_.get(), bt709, full, bt709, 1, 0, kOne, kOne);
    }
    image.width = width;
    image.height = height;
    image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
    std::uint8_t* target = image.rgb.data();
    const int stride = width * 3;
    sws_scale(scaler_.get(), frame_->data, frame_->linesize, 0, height, &target, &stride);
  }

  void check(int result) const {
    MONARCH_CHECK_CODE(result >= 0, kCorrupt, "[monarch_io] cannot read ", path_.string(),
                       " as an image or video: ", error_text(result));
  }

  std::filesystem::path path_;
  Input format_;
  int stream_ = -1;
  Codec codec_;
  Frame frame_;
  Packet packet_;
  Scaler scaler_;
};

}  // namespace

bool has_ffmpeg() { return true; }

Image read_image(const std::filesystem::path& path) {
  Reader reader(path);
  Image image;
  MONARCH_CHECK_CODE(reader.next(image), kCorrupt, "[monarch_io] ", path.string(),
                     " holds no picture");
  return image;
}

Video read_video(const std::filesystem::path& path, std::int64_t max_frames) {
  Reader reader(path);
  Video video;
  video.fps = reader.fps();
  Image image;
  while (static_cast<std::int64_t>(video.frames.size()) < max_frames && reader.next(image)) {
    if (video.frames.empty()) {
      video.width = image.width;
      video.height = image.height;
    }
    MONARCH_CHECK_CODE(image.width == video.width && image.height == video.height, kUnsupported,
                       "[monarch_io] ", path.string(), " changes its size from ", video.width, "x",
                       video.height, " to ", image.width, "x", image.height, " on the way");
    video.frames.push_back(std::move(image.rgb));
  }
  MONARCH_CHECK_CODE(!video.frames.empty(), kCorrupt, "[monarch_io] ", path.string(),
                     " holds no picture");
  return video;
}

}  // namespace monarch::io
