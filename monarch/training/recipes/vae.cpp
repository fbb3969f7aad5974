#include "monarch/training/recipes/vae.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

namespace monarch::training {

VaeRecipe::VaeRecipe(VaeRecipeOptions options, models::TensorMap initial)
    : options_(options),
      data_(ShapesOptions{.frames = std::max(21, options.frames)}, mix_seed(options.seed, 1)),
      parameters_(std::move(initial)) {
  if (parameters_.empty()) {
    parameters_ =
        init_vae(options_.vae, at::detail::createCPUGenerator(mix_seed(options_.seed, 2)));
  }
}

at::Tensor VaeRecipe::loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                           int64_t parts) const {
  const int64_t count = options_.batch / parts;
  const int64_t first = step * options_.batch + part * count;
  const auto seed = mix_seed(options_.seed, 1000 + static_cast<std::uint64_t>(first));
  ShapesRng rng(seed);
  std::vector<at::Tensor> clips;
  for (int64_t i = first; i < first + count; ++i) {
    const ShapesSample sample = data_.sample(static_cast<std::uint64_t>(i));
    clips.push_back(data_.crop(sample.scene, options_.crop, options_.frames, rng));
  }
  const at::Tensor video = at::stack(clips);
  at::Tensor mean;
  {
    const at::AutoGradMode gradients(!options_.decoder_only);
    mean = encode_clip(options_.vae, parameters, video);
  }
  const at::Tensor noise =
      at::randn(mean.sizes(), at::detail::createCPUGenerator(seed), at::kFloat);
  const at::Tensor decoded =
      decode_clip(options_.vae, parameters, mean + options_.latent_noise * noise);
  return (decoded - video).abs().mean() + options_.latent_l2 * mean.square().mean();
}

LatentStatistics measure_latents(const VaeClipConfig& config, const models::TensorMap& parameters,
                                 const ShapesDataset& data, int64_t count) {
  const at::NoGradGuard no_grad;
  at::Tensor sum = at::zeros({config.z_dim}, at::kDouble);
  at::Tensor square = at::zeros({config.z_dim}, at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor video =
        data.video(data.sample(static_cast<std::uint64_t>(i)).scene).unsqueeze(0);
    const at::Tensor mean = encode_clip(config, parameters, video).to(at::kDouble);
    sum += mean.mean({0, 2, 3, 4});
    square += mean.square().mean({0, 2, 3, 4});
  }
  const at::Tensor mean = sum / static_cast<double>(count);
  const at::Tensor deviation =
      (square / static_cast<double>(count) - mean.square()).clamp_min(0).sqrt();
  // A third of the root mean square over all channels.
  const double floor = std::sqrt(deviation.square().mean().item<double>()) / 3;
  LatentStatistics statistics;
  for (int64_t c = 0; c < config.z_dim; ++c) {
    statistics.mean.push_back(mean[c].item<double>());
    statistics.deviation.push_back(std::max(deviation[c].item<double>(), floor));
  }
  return statistics;
}

}  // namespace monarch::training
