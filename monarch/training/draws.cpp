#include "monarch/training/draws.h"

namespace monarch::training {
namespace {

// The finaliser of splitmix64: spreads neighbouring numbers over all 64 bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

at::Tensor integers_of(at::Generator& generator, int64_t low, int64_t high, at::IntArrayRef shape) {
  return at::randint(low, high, shape, generator, at::TensorOptions().dtype(at::kLong));
}

}  // namespace

SeededDraws::SeededDraws(std::uint64_t seed, int64_t step, int64_t rank) {
  const std::uint64_t at_step = mix(mix(seed) + static_cast<std::uint64_t>(step));
  common_ = pipelines::seeded_generator(at_step);
  own_ = pipelines::seeded_generator(mix(at_step + static_cast<std::uint64_t>(rank) + 1));
}

at::Tensor SeededDraws::normal(const std::string& /*what*/, const pipelines::LatentShape& shape,
                               const at::TensorOptions& options) {
  return pipelines::draw_noise(own_, shape, options);
}

at::Tensor SeededDraws::integers(const std::string& /*what*/, int64_t low, int64_t high,
                                 at::IntArrayRef shape) {
  return integers_of(own_, low, high, shape);
}

at::Tensor SeededDraws::common_integers(const std::string& /*what*/, int64_t low, int64_t high,
                                        at::IntArrayRef shape) {
  return integers_of(common_, low, high, shape);
}

pipelines::LatentShape shape_of(const at::Tensor& latents) {
  return {.batch = latents.size(0),
          .channels = latents.size(1),
          .frames = latents.size(2),
          .height = latents.size(3),
          .width = latents.size(4)};
}

}  // namespace monarch::training
