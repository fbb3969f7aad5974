#include "monarch/training/recipes/vae_clip.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/models/wan/vae.h"
#include "monarch/training/recipes/channel_norm.h"
#include "monarch/training/recipes/vae.h"

namespace monarch::training {
namespace {

double relative(const at::Tensor& got, const at::Tensor& want) {
  return ((got - want).norm() / want.norm()).item<double>();
}

models::VaeConfig config_of(const VaeClipConfig& clip) {
  models::VaeConfig config;
  config.dim = clip.dim;
  config.z_dim = clip.z_dim;
  config.latent_mean.assign(static_cast<std::size_t>(clip.z_dim), 0.0);
  config.latent_std.assign(static_cast<std::size_t>(clip.z_dim), 1.0);
  return config;
}

// All frames at once, and chunk by chunk: the same function.
TEST(VaeClip, EqualsTheStreamingVae) {
  const at::NoGradGuard no_grad;
  const VaeClipConfig config{.dim = 4, .z_dim = 6};
  const models::TensorMap parameters = init_vae(config, at::detail::createCPUGenerator(1));
  const models::WanVae vae(config_of(config), parameters);
  for (const int64_t frames : {1, 5, 9}) {
    const at::Tensor video = at::rand({2, 3, frames, 16, 24}) * 2 - 1;
    const at::Tensor mean = encode_clip(config, parameters, video);
    ASSERT_EQ(mean.sizes().vec(), (std::vector<int64_t>{2, 6, 1 + (frames - 1) / 4, 2, 3}));
    EXPECT_LT(relative(mean, vae.encode(video)), 1e-5) << frames;
    EXPECT_LT(relative(decode_clip(config, parameters, mean), vae.decode(mean)), 1e-5) << frames;
  }
}

TEST(VaeClip, SaysWhatAClipMustBe) {
  const models::TensorMap parameters = init_vae({.dim = 4}, at::detail::createCPUGenerator(1));
  try {
    encode_clip({.dim = 4}, parameters, at::zeros({1, 3, 4, 16, 16}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "[monarch_training] a clip must be [B, 3, 1 + 4n, 8h, 8w], but is [1, 3, 4, 16, 16]");
  }
  try {
    decode_clip({.dim = 4}, parameters, at::zeros({1, 3, 4, 16, 16}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_training] latents must be [B, 16, F, h, w], but are [1, 3, 4, 16, 16]");
  }
}

TEST(ChannelNorm, EqualsItsFormulaAndItsGradient) {
  const auto leaf = [](at::Tensor tensor) {
    return tensor.detach().clone().set_requires_grad(true);
  };
  const at::Tensor x = at::randn({3, 5, 4, 2});
  const at::Tensor gamma = at::rand({5}) + 0.5;
  const at::Tensor weights = at::randn({3, 5, 4, 2});
  const at::Tensor x1 = leaf(x), gamma1 = leaf(gamma), x2 = leaf(x), gamma2 = leaf(gamma);
  const at::Tensor fast = channel_norm(x1, gamma1);
  const at::Tensor slow =
      x2 * (x2.square().mean(1, true) + 1e-12).rsqrt() * gamma2.view({1, 5, 1, 1});
  EXPECT_LT(relative(fast, slow), 1e-6);
  (fast * weights).sum().backward();
  (slow * weights).sum().backward();
  EXPECT_LT(relative(x1.grad(), x2.grad()), 1e-5);
  EXPECT_LT(relative(gamma1.grad(), gamma2.grad()), 1e-5);
}

TEST(ChannelNorm, SaysWhatItNeeds) {
  try {
    channel_norm(at::zeros({1, 2, 3}), at::zeros({2}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_training] channel_norm needs float32 [N, C, H, W] with at most 256 "
                 "channels, but got Float "
                 "[1, 2, 3]");
  }
}

TEST(VaeRecipe, LossIsAFunctionOfTheStep) {
  const VaeRecipe recipe({.vae = {.dim = 4}, .batch = 2, .crop = 32, .frames = 5});
  const at::NoGradGuard no_grad;
  const double loss = recipe.loss(recipe.parameters(), 0, 0, 1).item<double>();
  EXPECT_EQ(loss, recipe.loss(recipe.parameters(), 0, 0, 1).item<double>());
  EXPECT_NE(loss, recipe.loss(recipe.parameters(), 1, 0, 1).item<double>());
}

TEST(VaeRecipe, AProbeTeachesTheEncoderAndStaysOutOfTheModel) {
  const VaeRecipeOptions options{.vae = {.dim = 4}, .batch = 2, .crop = 32, .frames = 5};
  VaeRecipeOptions probed = options;
  probed.kind_weight = 1;
  const VaeRecipe plain(options);
  const VaeRecipe recipe(probed, plain.parameters());
  EXPECT_GT(recipe.parameters().size(), plain.parameters().size());
  EXPECT_EQ(without_probe(recipe.parameters()).size(), plain.parameters().size());
  EXPECT_EQ(VaeRecipe(options, recipe.parameters()).parameters().size(), plain.parameters().size());
  VaeRecipeOptions decoder = options;
  decoder.decoder_only = true;  // keeps it, as it keeps the encoder
  EXPECT_EQ(VaeRecipe(decoder, recipe.parameters()).parameters().size(),
            recipe.parameters().size());

  TensorMap leaves;
  for (const auto& [name, parameter] : recipe.parameters())
    leaves[name] = parameter.detach().set_requires_grad(true);
  const at::Tensor loss = recipe.loss(leaves, 0, 0, 1);
  const double without = plain.loss(plain.parameters(), 0, 0, 1).item<double>();
  EXPECT_GT(loss.item<double>(), without + 0.5);  // a guess among five costs 1.6
  loss.backward();
  const at::Tensor with_probe = leaves.at("encoder.conv1.weight").grad().clone();
  for (auto& [name, leaf] : leaves) leaf.mutable_grad() = at::Tensor();
  plain.loss(leaves, 0, 0, 1).backward();
  EXPECT_GT(relative(with_probe, leaves.at("encoder.conv1.weight").grad()), 1e-2);
  const double accuracy = recipe.kind_accuracy(recipe.parameters(), 4);
  EXPECT_GE(accuracy, 0);
  EXPECT_LE(accuracy, 1);
}

}  // namespace
}  // namespace monarch::training
