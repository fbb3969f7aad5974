#include "monarch/pipelines/noise.h"

#include <ATen/CPUGeneratorImpl.h>

namespace monarch::pipelines {

at::Generator seeded_generator(std::uint64_t seed) { return at::detail::createCPUGenerator(seed); }

at::Tensor draw_noise(at::Generator& generator, const LatentShape& shape,
                      const at::TensorOptions& options) {
  const at::Tensor drawn =
      at::randn({shape.batch, shape.frames, shape.channels, shape.height, shape.width}, generator,
                at::TensorOptions().dtype(at::kFloat));
  return swap_frames_and_channels(drawn).contiguous().to(
      options.device(), c10::typeMetaToScalarType(options.dtype()),
      /*non_blocking=*/options.device().type() != at::kCPU);
}

sampling::NoiseSource noise_source(at::Generator generator) {
  return [generator](const at::Tensor& like) mutable {
    return draw_noise(generator,
                      {like.size(0), like.size(1), like.size(2), like.size(3), like.size(4)},
                      like.options());
  };
}

}  // namespace monarch::pipelines
