// Random draws: Torch's CPU generator and the originals' layout [B, F, C, H, W] whatever device and
// type the model runs in, so that a seed means the same video everywhere.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "monarch/sampling/few_step.h"

namespace monarch::pipelines {

struct LatentShape {
  std::int64_t batch = 1;
  std::int64_t channels = 16;
  std::int64_t frames = 21;
  std::int64_t height = 60;  // of the latent
  std::int64_t width = 104;
};

at::Generator seeded_generator(std::uint64_t seed);

// Standard normal [B, C, F, H, W] of this type and device; draws float32 in [B, F, C, H, W] order.
at::Tensor draw_noise(at::Generator& generator, const LatentShape& shape,
                      const at::TensorOptions& options);

// A source that keeps drawing from `generator` (shared by reference counting).
sampling::NoiseSource noise_source(at::Generator generator);

// [B, F, C, H, W] <-> [B, C, F, H, W]
inline at::Tensor swap_frames_and_channels(const at::Tensor& x) {
  return x.permute({0, 2, 1, 3, 4});
}

}  // namespace monarch::pipelines
