#include "monarch/io/ffmpeg_h264.h"

#include <mutex>
#include <string>
#include <utility>

#include "monarch/base/log.h"
#include "monarch/io/ffmpeg_yuv.h"

namespace monarch::io::ffmpeg {
namespace {

// NVENC's least for H.264.
constexpr std::int64_t kMinNvencWidth = 145;
constexpr std::int64_t kMinNvencHeight = 49;

constexpr EncoderSetting kX264File[] = {{"preset", "veryfast"}, {"crf", "17"}};
constexpr EncoderSetting kX264Live[] = {
    {"preset", "veryfast"}, {"tune", "zerolatency"}, {"crf", "20"}, {"forced-idr", "1"}};

// "b" would be a mean rate; without it, "cq" is a constant quality. No B-frames in files either:
// how their decoding times are made up differs from FFmpeg to FFmpeg.
constexpr EncoderSetting kNvencFile[] = {{"preset", "p5"}, {"tune", "hq"}, {"profile", "high"},
                                         {"rc", "vbr"},    {"cq", "19"},   {"b", "0"},
                                         {"bf", "0"}};
constexpr EncoderSetting kNvencLive[] = {
    {"preset", "p4"},      {"tune", "ull"},    {"profile", "high"}, {"rc", "vbr"},
    {"cq", "23"},          {"b", "0"},         {"delay", "0"},      {"zerolatency", "1"},
    {"rc-lookahead", "0"}, {"forced-idr", "1"}};

std::span<const EncoderSetting> x264_settings(H264Use use) {
  if (use == H264Use::kLive) return kX264Live;
  return kX264File;
}

// libx264 if there is one, else any H.264 encoder, else null.
const AVCodec* find_cpu_encoder() {
  const AVCodec* encoder = avcodec_find_encoder_by_name("libx264");
  return encoder != nullptr ? encoder : avcodec_find_encoder(AV_CODEC_ID_H264);
}

void set_bt709(AVCodecContext& codec) {
  codec.color_range = AVCOL_RANGE_MPEG;
  codec.colorspace = AVCOL_SPC_BT709;
  codec.color_primaries = AVCOL_PRI_BT709;
  codec.color_trc = AVCOL_TRC_BT709;
}

int open_encoder(const AVCodec& encoder, std::span<const EncoderSetting> settings,
                 const H264Options& options, Codec& codec) {
  Codec opening(avcodec_alloc_context3(&encoder));
  if (!opening) return AVERROR(ENOMEM);
  set_video(*opening, options.width, options.height, options.fps);
  set_bt709(*opening);
  opening->pix_fmt = AV_PIX_FMT_YUV420P;
  opening->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  if (options.use == H264Use::kLive) {
    opening->max_b_frames = 0;
    opening->gop_size = static_cast<int>(2 * options.fps) + 1;
  }
  AVDictionary* dictionary = nullptr;
  for (const EncoderSetting& setting : settings) {
    av_dict_set(&dictionary, setting.name, setting.value, 0);
  }
  const int opened = avcodec_open2(opening.get(), &encoder, &dictionary);
  av_dict_free(&dictionary);
  if (opened >= 0) codec = std::move(opening);
  return opened;
}

// Why NVENC does not take the frames; empty once `codec` is its.
std::string open_nvenc(const H264Options& options, Codec& codec) {
  if (options.width < kMinNvencWidth || options.height < kMinNvencHeight) {
    return str_cat("it takes ", kMinNvencWidth, "x", kMinNvencHeight,
                   " pixels or more, but the video has ", options.width, "x", options.height);
  }
  const AVCodec* encoder = avcodec_find_encoder_by_name("h264_nvenc");
  if (encoder == nullptr) return "this FFmpeg was built without it";
  take_last_error();
  const int opened = open_encoder(*encoder, nvenc_settings(options.use), options, codec);
  if (opened >= 0) return {};
  const std::string told = take_last_error();
  return told.empty() ? error_text(opened) : told;
}

// Opening the same again, for the next video or viewer, says nothing new.
void log_change(LogLevel level, const std::string& line) {
  static std::mutex mutex;
  static std::string last;
  const std::lock_guard lock(mutex);
  if (std::exchange(last, line) != line) log_line(level, line);
}

}  // namespace

std::span<const EncoderSetting> nvenc_settings(H264Use use) {
  if (use == H264Use::kLive) return kNvencLive;
  return kNvencFile;
}

int open_h264(const H264Options& options, Codec& codec) {
  std::string refusal;
  if (options.gpu_encoder) {
    refusal = open_nvenc(options, codec);
    if (refusal.empty()) {
      log_change(LogLevel::kInfo, "H.264 is encoded by h264_nvenc");
      return 0;
    }
  }
  const AVCodec* encoder = find_cpu_encoder();
  if (encoder == nullptr) return AVERROR_ENCODER_NOT_FOUND;
  if (options.gpu_encoder) {
    log_change(LogLevel::kWarning,
               str_cat("H.264 is encoded by ", encoder->name, ", not by h264_nvenc: ", refusal));
  }
  return open_encoder(*encoder, x264_settings(options.use), options, codec);
}

}  // namespace monarch::io::ffmpeg
