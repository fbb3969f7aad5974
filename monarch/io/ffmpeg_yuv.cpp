#include "monarch/io/ffmpeg_yuv.h"

namespace monarch::io::ffmpeg {

void set_video(AVCodecContext& codec, std::int64_t width, std::int64_t height, double fps) {
  const AVRational rate = av_d2q(fps, 100'000);
  codec.width = static_cast<int>(width);
  codec.height = static_cast<int>(height);
  codec.time_base = av_inv_q(rate);
  codec.framerate = rate;
  codec.thread_count = 1;
  codec.flags |= AV_CODEC_FLAG_BITEXACT;
}

Frame make_frame(const AVCodecContext& codec) {
  Frame frame(av_frame_alloc());
  if (!frame) return nullptr;
  frame->format = codec.pix_fmt;
  frame->width = codec.width;
  frame->height = codec.height;
  frame->color_range = codec.color_range;
  frame->colorspace = codec.colorspace;
  if (av_frame_get_buffer(frame.get(), 0) < 0) return nullptr;
  return frame;
}

Scaler make_scaler(const AVCodecContext& codec) {
  Scaler scaler(sws_getContext(
      codec.width, codec.height, AV_PIX_FMT_RGB24, codec.width, codec.height, codec.pix_fmt,
      SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr));
  if (!scaler) return nullptr;
  const int* matrix =
      sws_getCoefficients(codec.colorspace == AVCOL_SPC_BT709 ? SWS_CS_ITU709 : SWS_CS_ITU601);
  const int full_range = codec.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
  constexpr int kOne = 1 << 16;
  sws_setColorspaceDetails(scaler.get(), matrix, 1, matrix, full_range, 0, kOne, kOne);
  return scaler;
}

void convert(SwsContext* scaler, std::span<const std::uint8_t> rgb, AVFrame& frame) {
  const std::uint8_t* source = rgb.data();
  const int stride = frame.width * 3;
  sws_scale(scaler, &source, &stride, 0, frame.height, frame.data, frame.linesize);
}

}  // namespace monarch::io::ffmpeg
