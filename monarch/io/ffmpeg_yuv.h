// RGB frames into an encoder's yuv420p, shared by the files and the live stream.
#pragma once

#include <cstdint>
#include <span>

#include "monarch/io/ffmpeg.h"

namespace monarch::io::ffmpeg {

// libx264 if there is one, else any H.264 encoder, else null.
const AVCodec* find_h264_encoder();

// Size, rate, one thread and no version strings: the same frames give the same bytes on every
// machine.
void set_video(AVCodecContext& codec, std::int64_t width, std::int64_t height, double fps);

// Colours of HD video: BT.709 in the limited range.
void set_bt709(AVCodecContext& codec);

// A writable frame of the codec's size and format. Null without memory.
Frame make_frame(const AVCodecContext& codec);

// Converts RGB into frames of make_frame() of the codec's matrix and range. Null without memory.
Scaler make_scaler(const AVCodecContext& codec);

// rgb: [height, width, 3]
void convert(SwsContext* scaler, std::span<const std::uint8_t> rgb, AVFrame& frame);

}  // namespace monarch::io::ffmpeg
