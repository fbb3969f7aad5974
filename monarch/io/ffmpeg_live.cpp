// Fragmented MP4 and JPEG into memory through FFmpeg's libraries.
#include <cstdio>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/ffmpeg_h264.h"
#include "monarch/io/ffmpeg_yuv.h"
#include "monarch/io/live_video.h"

namespace monarch::io {
namespace {

using namespace ffmpeg;

void check(int result) {
  MONARCH_CHECK_CODE(result >= 0, kIo,
                     "[monarch_io] cannot encode live video: ", error_text(result));
}

void check_memory(bool there) {
  MONARCH_CHECK_CODE(there, kOutOfMemory, "[monarch_io] not enough memory to encode live video");
}

void check_size(const LiveVideoFormat& format) {
  MONARCH_CHECK(format.width > 0 && format.height > 0 && format.width <= 16'384 &&
                    format.height <= 16'384 && format.width % 2 == 0 && format.height % 2 == 0 &&
                    format.fps > 0 && format.fps <= 1000,
                "[monarch_io] live video of ", format.width, "x", format.height, " at ", format.fps,
                " frames a second is impossible; even sizes up to 16384 and rates up to 1000 were "
                "expected");
}

void check_frame(std::span<const std::uint8_t> rgb, const LiveVideoFormat& format) {
  MONARCH_CHECK(rgb.size() == static_cast<std::size_t>(format.width * format.height * 3),
                "[monarch_io] a frame has ", rgb.size(), " bytes; ", format.width, " x ",
                format.height, " x 3 was expected");
}

struct FreeIo {
  void operator()(AVIOContext* io) const {
    av_freep(static_cast<void*>(&io->buffer));
    avio_context_free(&io);
  }
};
struct FreeMuxer {
  void operator()(AVFormatContext* muxer) const { avformat_free_context(muxer); }
};

#if LIBAVFORMAT_VERSION_MAJOR >= 61
using WrittenByte = const std::uint8_t;
#else
using WrittenByte = std::uint8_t;
#endif

int append(void* opaque, WrittenByte* bytes, int size) noexcept {
  try {
    static_cast<std::string*>(opaque)->append(reinterpret_cast<const char*>(bytes),
                                              static_cast<std::size_t>(size));
    return size;
  } catch (...) {
    return AVERROR(ENOMEM);
  }
}

// Profile and level as RFC 6381 wants them, from the sequence parameter set in Annex B extradata.
std::string avc_name(const AVCodecContext& codec) {
  for (int i = 0; i + 6 < codec.extradata_size; ++i) {
    const std::uint8_t* p = codec.extradata + i;
    if (p[0] == 0 && p[1] == 0 && p[2] == 1 && (p[3] & 0x1f) == 7) {
      char text[16];
      std::snprintf(text, sizeof(text), "avc1.%02x%02x%02x", p[4], p[5], p[6]);
      return text;
    }
  }
  return "avc1";
}

}  // namespace

class FragmentedMp4::Impl {
 public:
  explicit Impl(const LiveVideoFormat& format) : format_(format) {
    quiet();
    check_size(format);
    const int opened = open_h264({.width = format.width,
                                  .height = format.height,
                                  .fps = format.fps,
                                  .use = H264Use::kLive,
                                  .gpu_encoder = format.gpu_encoder},
                                 codec_);
    MONARCH_CHECK_CODE(opened != AVERROR_ENCODER_NOT_FOUND, kUnsupported,
                       "[monarch_io] cannot stream video: this FFmpeg has no H.264 encoder");
    check(opened);
    packet_.reset(av_packet_alloc());
    frame_ = make_frame(*codec_);
    scaler_ = make_scaler(*codec_);
    check_memory(packet_ && frame_ && scaler_);
    open_muxer();
    mime_type_ = "video/mp4; codecs=\"" + avc_name(*codec_) + '"';
  }

  void write(std::span<const std::uint8_t> rgb) {
    check_frame(rgb, format_);
    check(av_frame_make_writable(frame_.get()));
    convert(scaler_.get(), rgb, *frame_);
    frame_->pts = num_frames_++;
    frame_->pict_type = starts_fragment_ ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    starts_fragment_ = false;
    check(avcodec_send_frame(codec_.get(), frame_.get()));
    while (true) {
      const int received = avcodec_receive_packet(codec_.get(), packet_.get());
      if (received == AVERROR(EAGAIN)) return;
      check(received);
      packet_->duration = 1;
      av_packet_rescale_ts(packet_.get(), codec_->time_base, muxer_->streams[0]->time_base);
      packet_->stream_index = 0;
      check(av_write_frame(muxer_.get(), packet_.get()));
      av_packet_unref(packet_.get());
      in_fragment_ = true;
    }
  }

  std::string take() {
    if (in_fragment_) check(av_write_frame(muxer_.get(), nullptr));  // ends the fragment
    in_fragment_ = false;
    starts_fragment_ = true;
    avio_flush(io_.get());
    return std::exchange(bytes_, {});
  }

  const std::string& mime_type() const { return mime_type_; }

 private:
  void open_muxer() {
    AVFormatContext* muxer = nullptr;
    check(avformat_alloc_output_context2(&muxer, nullptr, "mp4", nullptr));
    muxer_.reset(muxer);
    constexpr int kBufferBytes = 1 << 16;
    auto* buffer = static_cast<std::uint8_t*>(av_malloc(kBufferBytes));
    check_memory(buffer != nullptr);
    io_.reset(avio_alloc_context(buffer, kBufferBytes, 1, &bytes_, nullptr, append, nullptr));
    if (!io_) av_free(buffer);
    check_memory(io_ != nullptr);
    muxer_->pb = io_.get();
    muxer_->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    AVStream* stream = avformat_new_stream(muxer_.get(), nullptr);
    check_memory(stream != nullptr);
    check(avcodec_parameters_from_context(stream->codecpar, codec_.get()));
    stream->time_base = codec_->time_base;
    stream->avg_frame_rate = codec_->framerate;
    AVDictionary* options = nullptr;
    av_dict_set(&options, "movflags", "empty_moov+default_base_moof+frag_custom", 0);
    const int started = avformat_write_header(muxer_.get(), &options);
    av_dict_free(&options);
    check(started);
  }

  LiveVideoFormat format_;
  std::string bytes_;
  std::string mime_type_;
  std::unique_ptr<AVIOContext, FreeIo> io_;
  std::unique_ptr<AVFormatContext, FreeMuxer> muxer_;
  Codec codec_;
  Frame frame_;
  Packet packet_;
  Scaler scaler_;
  std::int64_t num_frames_ = 0;
  bool in_fragment_ = false;
  bool starts_fragment_ = true;
};

class JpegEncoder::Impl {
 public:
  explicit Impl(const LiveVideoFormat& format) : format_(format) {
    quiet();
    check_size(format);
    const AVCodec* encoder = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    MONARCH_CHECK_CODE(encoder != nullptr, kUnsupported,
                       "[monarch_io] cannot stream pictures: this FFmpeg has no JPEG encoder");
    codec_.reset(avcodec_alloc_context3(encoder));
    packet_.reset(av_packet_alloc());
    check_memory(codec_ && packet_);
    set_video(*codec_, format.width, format.height, format.fps);
    codec_->pix_fmt = AV_PIX_FMT_YUVJ420P;  // JPEG's full range
    codec_->color_range = AVCOL_RANGE_JPEG;
    codec_->colorspace = AVCOL_SPC_BT470BG;
    codec_->flags |= AV_CODEC_FLAG_QSCALE;
    codec_->global_quality = 3 * FF_QP2LAMBDA;
    check(avcodec_open2(codec_.get(), encoder, nullptr));
    frame_ = make_frame(*codec_);
    scaler_ = make_scaler(*codec_);
    check_memory(frame_ && scaler_);
    frame_->quality = codec_->global_quality;
  }

  std::string encode(std::span<const std::uint8_t> rgb) {
    check_frame(rgb, format_);
    check(av_frame_make_writable(frame_.get()));
    convert(scaler_.get(), rgb, *frame_);
    frame_->pts = num_frames_++;
    check(avcodec_send_frame(codec_.get(), frame_.get()));
    check(avcodec_receive_packet(codec_.get(), packet_.get()));
    std::string picture(reinterpret_cast<const char*>(packet_->data),
                        static_cast<std::size_t>(packet_->size));
    av_packet_unref(packet_.get());
    return picture;
  }

 private:
  LiveVideoFormat format_;
  Codec codec_;
  Frame frame_;
  Packet packet_;
  Scaler scaler_;
  std::int64_t num_frames_ = 0;
};

FragmentedMp4::FragmentedMp4(const LiveVideoFormat& format)
    : impl_(std::make_unique<Impl>(format)) {}
FragmentedMp4::~FragmentedMp4() = default;
void FragmentedMp4::write(std::span<const std::uint8_t> rgb) { impl_->write(rgb); }
std::string FragmentedMp4::take() { return impl_->take(); }
const std::string& FragmentedMp4::mime_type() const { return impl_->mime_type(); }

JpegEncoder::JpegEncoder(const LiveVideoFormat& format) : impl_(std::make_unique<Impl>(format)) {}
JpegEncoder::~JpegEncoder() = default;
std::string JpegEncoder::encode(std::span<const std::uint8_t> rgb) { return impl_->encode(rgb); }

}  // namespace monarch::io
