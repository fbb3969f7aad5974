// Pixels from files.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>

namespace monarch::pipelines {

// Frames of an image (max_frames 1) or video, scaled to the size: [1, 3, T, height, width] in
// [-1, 1], T at most max_frames. Errors as io::read_image and io::read_video.
at::Tensor read_frames(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
                       std::int64_t max_frames);

}  // namespace monarch::pipelines
