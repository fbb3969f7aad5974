// The H.264 encoder behind files and live streams.
#pragma once

#include <cstdint>
#include <span>

#include "monarch/io/ffmpeg.h"

namespace monarch::io::ffmpeg {

enum class H264Use {
  kFile,  // hardly to be told from the frames, at a fraction of the time that decoding latents
          // takes
  kLive,  // a packet for every frame at once, a key frame wherever one is asked for
};

struct H264Options {
  std::int64_t width = 0;
  std::int64_t height = 0;
  double fps = 0;
  H264Use use = H264Use::kFile;
  bool gpu_encoder = false;  // NVENC if it takes the frames; a change of encoders is logged
};

// Opens NVENC where it is wanted and works, else libx264 or, without that, any H.264 encoder: for
// yuv420p, BT.709 in the limited range, with the parameter sets in the extradata. A status of
// FFmpeg; AVERROR_ENCODER_NOT_FOUND: this FFmpeg has none.
int open_h264(const H264Options& options, Codec& codec);

struct EncoderSetting {
  const char* name;
  const char* value;
};
std::span<const EncoderSetting> nvenc_settings(H264Use use);

}  // namespace monarch::io::ffmpeg
