// Videos of one size in one file, so that later ones can be compared with them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

namespace monarch::apps {

class FrameStore {
 public:
  // Opens the file, or makes it. Videos are bytes [frames, height, width, 3].
  FrameStore(std::filesystem::path path, std::int64_t frames, std::int64_t height,
             std::int64_t width);

  // Throws kIo, naming the file, on a full disk.
  void write(std::int64_t index, const at::Tensor& video);
  // Throws kIo if the video was never written.
  at::Tensor read(std::int64_t index);

 private:
  std::filesystem::path path_;
  std::vector<std::int64_t> shape_;
  std::int64_t video_bytes_;
  std::fstream file_;
};

}  // namespace monarch::apps
