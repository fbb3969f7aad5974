// RGB frames into an encoder's yuv420p, shared by the files and the live stream.
#pragma once

#include <cstdint>
#include <span>

#include "monarch/io/ffmpeg.h"

namespace monarch::io::ffmpeg {

// Size, rate, one thread and no version strings: the same frames give the same bytes on every
// machine.
void set_video(AVCodecContext& codec, std::int64_t width, std::int64_t height, double fps);

// A writable frame of the codec's size and format. Null without memory.
Frame make_frame(const AVCodecContext& codec);

// Converts RGB into frames of make_frame() of the codec's matrix and range. Null without memory.
Scaler make_scaler(const AVCodecContext& codec);

// rgb: [height, width, 3]
void convert(SwsContext* scaler, std::span<const std::uint8_t> rgb, AVFrame& frame);

}  // namespace monarch::io::ffmpeg
