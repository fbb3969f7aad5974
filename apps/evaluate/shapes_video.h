// A video of a caption of the shapes world.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::apps {

struct ShapesVideo {
  at::Tensor frames;   // bytes [T, H, W, 3], contiguous, on the CPU
  double seconds = 0;  // text, denoising and decoding
};

// Throws kCancelled after Ctrl-C.
ShapesVideo make_shapes_video(pipelines::WanSystem& system,
                              const pipelines::GenerationOptions& options,
                              const std::string& caption, std::uint64_t seed);

}  // namespace monarch::apps
