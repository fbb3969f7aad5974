#include "monarch/training/recipes/vae.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

namespace monarch::training {
namespace {

// No channel is divided by less than the root mean square over all of them divided by this.
constexpr double kScaleFloor = 3;

// Each channel's deviation over a batch, with measure_latents' floor: [1, z, 1, 1, 1]. A denoiser
// sees latents divided by it.
at::Tensor channel_scale(const at::Tensor& latents) {
  const at::Tensor deviation = latents.std({0, 2, 3, 4}, /*unbiased=*/false, /*keepdim=*/true);
  return at::maximum(deviation, deviation.square().mean().sqrt() / kScaleFloor);
}

// Cells of shapes together count as much as those of the background, which are many more.
at::Tensor kind_loss(const at::Tensor& logits, const at::Tensor& kinds) {
  const at::Tensor each = at::cross_entropy_loss(logits, kinds, {}, at::Reduction::None);
  const at::Tensor shape = kinds > 0;
  const auto mean = [&](const at::Tensor& cells) {
    return (each * cells).sum() / cells.sum().clamp_min(1);
  };
  return 0.5 * (mean(shape) + mean(shape.logical_not()));
}

}  // namespace

VaeRecipe::VaeRecipe(VaeRecipeOptions options, models::TensorMap initial)
    : options_(options),
      data_(ShapesOptions{.frames = std::max(21, options.frames)}, mix_seed(options.seed, 1)),
      parameters_(std::move(initial)) {
  if (parameters_.empty()) {
    parameters_ =
        init_vae(options_.vae, at::detail::createCPUGenerator(mix_seed(options_.seed, 2)));
  }
  if (options_.kind_weight == 0 && !options_.decoder_only) {
    parameters_ = without_probe(std::move(parameters_));
  } else if (has_probe() && !find_probe(parameters_)) {
    add_probe(parameters_, options_.vae.z_dim,
              at::detail::createCPUGenerator(mix_seed(options_.seed, 3)));
  }
}

at::Tensor VaeRecipe::loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                           int64_t parts) const {
  const int64_t count = options_.batch / parts;
  const int64_t first = step * options_.batch + part * count;
  const auto seed = mix_seed(options_.seed, 1000 + static_cast<std::uint64_t>(first));
  ShapesRng rng(seed);
  std::vector<at::Tensor> clips, maps;
  for (int64_t i = first; i < first + count; ++i) {
    const ShapesSample sample = data_.sample(static_cast<std::uint64_t>(i));
    ShapesCrop crop = data_.crop(sample.scene, options_.crop, options_.frames, rng);
    clips.push_back(std::move(crop.video));
    maps.push_back(std::move(crop.kinds));
  }
  const at::Tensor video = at::stack(clips);
  at::Tensor mean;
  {
    const at::AutoGradMode gradients(!options_.decoder_only);
    mean = encode_clip(options_.vae, parameters, video);
  }
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto noise = [&] { return at::randn(mean.sizes(), generator, at::kFloat); };
  const at::Tensor decoded =
      decode_clip(options_.vae, parameters, mean + options_.latent_noise * noise());
  at::Tensor loss = (decoded - video).abs().mean() + options_.latent_l2 * mean.square().mean();
  if (has_probe()) {
    const at::Tensor noisy = mean / channel_scale(mean) + options_.kind_noise * noise();
    loss = loss +
           options_.kind_weight * kind_loss(find_probe(parameters).logits(noisy), at::stack(maps));
  }
  return loss;
}

double VaeRecipe::kind_accuracy(const models::TensorMap& parameters, int64_t videos) const {
  const at::NoGradGuard no_grad;
  const ShapesDataset data(data_.options(), mix_seed(options_.seed, 4));
  ShapesRng rng(mix_seed(options_.seed, 5));
  at::Generator generator = at::detail::createCPUGenerator(mix_seed(options_.seed, 6));
  std::vector<at::Tensor> means, maps;
  for (int64_t i = 0; i < videos; ++i) {
    const ShapesScene scene = data.sample(static_cast<std::uint64_t>(i)).scene;
    const ShapesCrop crop = data.crop(scene, options_.crop, options_.frames, rng);
    means.push_back(encode_clip(options_.vae, parameters, crop.video.unsqueeze(0)));
    maps.push_back(crop.kinds);
  }
  const at::Tensor mean = at::cat(means);
  const at::Tensor kinds = at::stack(maps);
  const at::Tensor seen = find_probe(parameters)
                              .logits(mean / channel_scale(mean) +
                                      options_.kind_noise * at::randn(mean.sizes(), generator))
                              .argmax(1);
  const at::Tensor shape = kinds > 0;
  return ((seen == kinds) & shape).sum().item<double>() / std::max(shape.sum().item<double>(), 1.0);
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
  const double floor = std::sqrt(deviation.square().mean().item<double>()) / kScaleFloor;
  LatentStatistics statistics;
  for (int64_t c = 0; c < config.z_dim; ++c) {
    statistics.mean.push_back(mean[c].item<double>());
    statistics.deviation.push_back(std::max(deviation[c].item<double>(), floor));
  }
  return statistics;
}

}  // namespace monarch::training
