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

ShapesDitRecipe::ShapesDitRecipe(ShapesDitOptions options, const LatentPool& pool,
                                 const models::Tokenizer& tokenizer,
                                 const models::Umt5Encoder& text, models::TensorMap initial)
    : options_(std::move(options)),
      pool_(pool),
      tokenizer_(tokenizer),
      text_(text),
      parameters_(std::move(initial)) {
  if (parameters_.empty()) {
    parameters_ = models::random_dit_weights(
        options_.model, at::detail::createCPUGenerator(mix_seed(options_.seed, 31)));
  }
}

at::Tensor ShapesDitRecipe::loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                                 int64_t parts) const {
  const int64_t count = options_.batch / parts;
  const int64_t first = step * options_.batch + part * count;
  ShapesRng rng(mix_seed(options_.seed, 40'000'000 + static_cast<std::uint64_t>(first)));
  std::vector<at::Tensor> latents;
  std::vector<std::string> captions;
  std::vector<float> sigmas;
  for (int64_t i = first; i < first + count; ++i) {
    // The first pass takes the pool in order, later ones at random.
    const int64_t index =
        i < pool_.size()
            ? i
            : static_cast<int64_t>(rng.next() % static_cast<std::uint64_t>(pool_.size()));
    const ShapesSample sample = pool_.data().sample(static_cast<std::uint64_t>(index));
    latents.push_back(pool_.latent(index, sample.scene));
    std::string caption = caption_scene(sample.scene, rng);
    captions.push_back(
        rng.chance(static_cast<float>(options_.caption_dropout)) ? "" : std::move(caption));
    const auto place =
        static_cast<double>((i - step * options_.batch) * parts % options_.batch + part);
    const double u = (place + rng.uniform()) / static_cast<double>(options_.batch);
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
  const at::Tensor flow =
      dit.forward({.x = at::lerp(x0, noise, level), .t = sigma * 1000, .context = context});
  return at::mse_loss(flow, noise - x0);
}

}  // namespace monarch::training
