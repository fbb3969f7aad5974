// .mp4 (H.264) and .gif through FFmpeg's libraries.
#include <algorithm>
#include <cstring>
#include <system_error>

#include "monarch/base/error.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/ffmpeg_h264.h"
#include "monarch/io/ffmpeg_yuv.h"
#include "monarch/io/palette.h"
#include "monarch/io/video_writer.h"

namespace monarch::io {
namespace {

using namespace ffmpeg;

class FfmpegWriter final : public VideoWriter {
 public:
  explicit FfmpegWriter(const VideoTarget& target)
      : target_(target), temporary_(temporary_name(target.path)) {
    quiet();
    try {
      open();
    } catch (...) {
      remove_temporary();
      throw;
    }
  }

  ~FfmpegWriter() override { remove_temporary(); }

  void write(std::span<const std::uint8_t> rgb) override {
    target_.check_frame(rgb);
    check(av_frame_make_writable(frame_.get()));
    if (target_.format == VideoFormat::kGif) {
      fill_palette(rgb);
    } else {
      convert(scaler_.get(), rgb, *frame_);
    }
    frame_->pts = num_frames_++;
    encode(frame_.get());
  }

  void finish() override {
    MONARCH_CHECK(num_frames_ > 0, "[monarch_io] a video without frames cannot be written to ",
                  target_.path.string());
    encode(nullptr);
    check(av_write_trailer(format_));
    const int closed = avio_closep(&format_->pb);
    check(closed);
    publish(temporary_, target_.path);
    finished_ = true;
  }

 private:
  void open() {
    const bool gif = target_.format == VideoFormat::kGif;
    check(avformat_alloc_output_context2(&format_, nullptr, gif ? "gif" : "mp4",
                                         url(temporary_).c_str()));
    if (gif) {
      open_gif_encoder();
    } else {
      open_h264_encoder();
    }
    packet_.reset(av_packet_alloc());
    AVStream* stream = avformat_new_stream(format_, nullptr);
    check_memory(packet_ && stream != nullptr);
    format_->flags |= AVFMT_FLAG_BITEXACT;
    check(avcodec_parameters_from_context(stream->codecpar, codec_.get()));
    stream->time_base = codec_->time_base;
    stream->avg_frame_rate = codec_->framerate;

    check(avio_open(&format_->pb, url(temporary_).c_str(), AVIO_FLAG_WRITE));
    AVDictionary* muxing = nullptr;
    if (!gif) av_dict_set(&muxing, "movflags", "+faststart", 0);
    const int started = avformat_write_header(format_, &muxing);
    av_dict_free(&muxing);
    check(started);
    frame_ = make_frame(*codec_);
    if (!gif) scaler_ = make_scaler(*codec_);
    MONARCH_CHECK_CODE(frame_ && (gif || scaler_), kOutOfMemory,
                       "[monarch_io] not enough memory to convert frames of ", target_.width, "x",
                       target_.height);
  }

  void open_gif_encoder() {
    const AVCodec* encoder = avcodec_find_encoder(AV_CODEC_ID_GIF);
    codec_.reset(avcodec_alloc_context3(encoder));
    check_memory(codec_ != nullptr);
    set_video(*codec_, target_.width, target_.height, target_.fps);
    codec_->pix_fmt = AV_PIX_FMT_PAL8;
    check(avcodec_open2(codec_.get(), encoder, nullptr));
  }

  void open_h264_encoder() {
    const int opened = open_h264({.width = target_.width,
                                  .height = target_.height,
                                  .fps = target_.fps,
                                  .gpu_encoder = target_.gpu_encoder},
                                 codec_);
    MONARCH_CHECK_CODE(opened != AVERROR_ENCODER_NOT_FOUND, kUnsupported,
                       "[monarch_io] cannot write ", target_.path.string(),
                       ": this FFmpeg has no H.264 encoder; write a .gif or PNG frames");
    check(opened);
  }

  void fill_palette(std::span<const std::uint8_t> rgb) {
    const PaletteImage image = quantize(rgb);
    for (int row = 0; row < frame_->height; ++row) {
      std::memcpy(frame_->data[0] + static_cast<std::ptrdiff_t>(row) * frame_->linesize[0],
                  image.indices.data() + static_cast<std::ptrdiff_t>(row) * frame_->width,
                  static_cast<std::size_t>(frame_->width));
    }
    std::memcpy(frame_->data[1], image.colors.data(), sizeof(image.colors));
  }

  void encode(const AVFrame* frame) {
    check(avcodec_send_frame(codec_.get(), frame));
    while (true) {
      const int received = avcodec_receive_packet(codec_.get(), packet_.get());
      if (received == AVERROR(EAGAIN) || received == AVERROR_EOF) return;
      check(received);
      // The muxers need to know how long the last frame is shown.
      if (packet_->duration == 0) packet_->duration = 1;
      av_packet_rescale_ts(packet_.get(), codec_->time_base, format_->streams[0]->time_base);
      packet_->stream_index = 0;
      check(av_interleaved_write_frame(format_, packet_.get()));
      // Writes are buffered; a full disk shows here.
      check(format_->pb->error);
    }
  }

  void check_memory(bool there) const {
    MONARCH_CHECK_CODE(there, kOutOfMemory, "[monarch_io] not enough memory to write ",
                       target_.path.string());
  }

  void check(int result) const {
    MONARCH_CHECK_CODE(
        result >= 0, kIo, "[monarch_io] cannot write ", target_.path.string(), ": ",
        error_text(result),
        result == AVERROR(ENOSPC) ? "; free some space or choose another folder" : "");
  }

  void remove_temporary() {
    if (format_ != nullptr) {
      avio_closep(&format_->pb);
      avformat_free_context(format_);
      format_ = nullptr;
    }
    std::error_code ignored;
    if (!finished_) std::filesystem::remove(temporary_, ignored);
  }

  VideoTarget target_;
  std::filesystem::path temporary_;
  AVFormatContext* format_ = nullptr;
  Codec codec_;
  Frame frame_;
  Packet packet_;
  Scaler scaler_;
  std::int64_t num_frames_ = 0;
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<VideoWriter> open_ffmpeg_writer(const VideoTarget& target) {
  return std::make_unique<FfmpegWriter>(target);
}

}  // namespace monarch::io
