// FFmpeg's C objects with owners, and its errors as text. Included by the ffmpeg_*.cpp files only.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <filesystem>
#include <memory>
#include <string>

namespace monarch::io::ffmpeg {

inline std::string error_text(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

// FFmpeg takes "a:b.mp4" for a protocol; this prefix makes any path a path.
inline std::string url(const std::filesystem::path& path) { return "file:" + path.string(); }

struct Free {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
  void operator()(SwsContext* context) const { sws_freeContext(context); }
};
using Frame = std::unique_ptr<AVFrame, Free>;
using Packet = std::unique_ptr<AVPacket, Free>;
using Codec = std::unique_ptr<AVCodecContext, Free>;
using Input = std::unique_ptr<AVFormatContext, Free>;  // opened for reading
using Scaler = std::unique_ptr<SwsContext, Free>;

// FFmpeg prints to the terminal unless told otherwise; its lines go to our debug log.
void quiet();
// The last error that FFmpeg told this thread since this was asked before; empty if none.
std::string take_last_error();

}  // namespace monarch::io::ffmpeg
