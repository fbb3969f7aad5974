// Video as it is made: pieces that a browser plays while the rest does not exist yet.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace monarch::io {

struct LiveVideoFormat {
  std::int64_t width = 0;   // even
  std::int64_t height = 0;  // even
  double fps = 16;
  // H.264 through NVENC where FFmpeg, driver, GPU and size allow it; a line in the log says which
  // encoder runs.
  bool gpu_encoder = false;
};

// One endless fragmented MP4 (ISO/IEC 14496-12; H.264, yuv420p, BT.709), as MediaSource takes it.
// The concatenation of all pieces is a file that players open. Throws kInvalidArgument (sizes),
// kUnsupported (built without FFmpeg, or without an H.264 encoder).
class FragmentedMp4 {
 public:
  explicit FragmentedMp4(const LiveVideoFormat& format);
  ~FragmentedMp4();

  // rgb: [height, width, 3]. Encoded without delay.
  void write(std::span<const std::uint8_t> rgb);
  // The frames written since the last call as a fragment, which begins with a key frame, so that
  // a recording may begin with any; before the first the header. Empty if there is nothing.
  std::string take();

  // For MediaSource: video/mp4; codecs="avc1.64000b".
  const std::string& mime_type() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Frames as JPEG pictures, for Motion JPEG. Errors as above.
class JpegEncoder {
 public:
  explicit JpegEncoder(const LiveVideoFormat& format);
  ~JpegEncoder();
  // rgb: [height, width, 3]
  std::string encode(std::span<const std::uint8_t> rgb);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monarch::io
