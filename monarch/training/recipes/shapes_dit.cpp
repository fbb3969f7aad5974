#include "monarch/training/recipes/shapes_dit.h"

#include <ATen/CPUGeneratorImpl.h>

namespace monarch::training {

models::WanConfig shapes_wan_config() {
  models::WanConfig config;
  config.text_len = 40;
  config.text_dim = 96;
  config.dim = 128;
  config.ffn_dim = 512;
  config.freq_dim = 128;
  config.num_heads = 4;
  config.num_layers = 6;
  return config;
}

ShapesDitRecipe::ShapesDitRecipe(ShapesDitOptions options, const LatentPool& videos,
                                 const LatentPool& images, const models::Tokenizer& tokenizer,
                                 const models::Umt5Encoder& text, models::TensorMap initial)
    : options_(std::move(options)),
      videos_(videos),
      images_(images),
      tokenizer_(tokenizer),
      text_(text),
      parameters_(std::move(initial)) {
  if (parameters_.empty()) {
    parameters_ = models::random_dit_weights(
        options_.model, at::detail::createCPUGenerator(mix_seed(options_.seed, 31)));
  }
}

int64_t ShapesDitRecipe::latent_frames(int64_t step) const {
  const int64_t all = videos_.shape()[1];
  if (step < options_.image_steps) return 1;
  if (options_.image_every > 0 && step % options_.image_every == 0) return 1;
  return step < options_.image_steps + options_.clip_steps ? std::min<int64_t>(3, all) : all;
}

int64_t ShapesDitRecipe::samples(int64_t step) const {
  return options_.batch * (videos_.shape()[1] / latent_frames(step));
}

at::Tensor ShapesDitRecipe::loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                                 int64_t parts) const {
  const int64_t frames = latent_frames(step);
  const LatentPool& pool = frames == 1 ? images_ : videos_;
  const int64_t batch = samples(step);
  const int64_t count = batch / parts;
  // Samples are counted from the first step with this pool.
  const int64_t first = (frames == 1 ? step : step - options_.image_steps) * batch + part * count;
  ShapesRng rng(
      mix_seed(options_.seed, 40'000'000 + static_cast<std::uint64_t>(step * parts + part)));
  std::vector<at::Tensor> latents;
  std::vector<std::string> captions;
  std::vector<float> sigmas;
  for (int64_t i = first; i < first + count; ++i) {
    // The first pass takes the pool in order, later ones at random.
    const int64_t index =
        i < pool.size()
            ? i
            : static_cast<int64_t>(rng.next() % static_cast<std::uint64_t>(pool.size()));
    const ShapesSample sample = pool.data().sample(static_cast<std::uint64_t>(index));
    latents.push_back(pool.latent(index, sample.scene).slice(1, 0, frames));
    std::string caption = caption_scene(sample.scene, rng);
    captions.push_back(
        rng.chance(static_cast<float>(options_.caption_dropout)) ? "" : std::move(caption));
    const auto place = static_cast<double>((i - first) * parts + part);
    const double u = (place + rng.uniform()) / static_cast<double>(batch);
    sigmas.push_back(static_cast<float>(options_.shift * u / (1 + (options_.shift - 1) * u)));
  }
  const models::TokenBatch tokens = tokenizer_.encode(captions);
  at::Tensor context;
  {
    const at::NoGradGuard no_grad;
    context = text_.embeds(tokens.ids, tokens.mask);
  }
  const at::Tensor x0 = at::stack(latents);
  const at::Tensor noise =
      at::randn(x0.sizes(), at::detail::createCPUGenerator(rng.next()), at::kFloat);
  const at::Tensor sigma = at::tensor(sigmas);
  const at::Tensor level = sigma.view({-1, 1, 1, 1, 1});
  const models::WanDit dit(options_.model, parameters);
  const at::Tensor noisy = at::lerp(x0, noise, level);
  const at::Tensor flow = dit.forward({.x = noisy, .t = sigma * 1000, .context = context});
  const at::Tensor loss = at::mse_loss(flow, noise - x0);
  if (options_.kind_weight == 0) return loss;
  return loss + options_.kind_weight *
                    kind_divergence(options_.probe, noisy - level * flow, x0, 1 - sigma);
}

}  // namespace monarch::training
