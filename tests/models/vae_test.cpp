#include "monarch/models/wan/vae.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/models/wan/causal_conv.h"
#include "tests/support/message_of.h"

namespace monarch::models {
namespace {

VaeConfig tiny_vae_config() {
  VaeConfig config;
  config.dim = 4;
  config.z_dim = 3;
  config.dim_mult = {1, 2, 2};
  config.num_res_blocks = 1;
  config.temperal_downsample = {true, true};
  config.complete();
  return config;
}

at::Tensor random_tensor(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  at::manual_seed(7);
  return at::randn(shape, at::TensorOptions().dtype(type)).clamp(-1, 1);
}

TensorMap converted(TensorMap parameters, at::ScalarType type) {
  for (auto& [name, tensor] : parameters) tensor = tensor.to(type);
  return parameters;
}

// Tiny operators: threads would only wait for each other, for long on a busy machine.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
  int before = at::get_num_threads();
};

TEST(WanVae, StreamedDecodeEqualsFullDecodeForAnyChunks) {
  const WanVae vae(tiny_vae_config(), random_parameters(tiny_vae_config(), 1));
  const at::Tensor latent = random_tensor({2, 3, 5, 3, 5});
  const at::Tensor full = vae.decode(latent);
  EXPECT_EQ(full.sizes(), at::IntArrayRef({2, 3, 17, 12, 20}));
  for (const std::vector<int64_t>& chunks :
       {std::vector<int64_t>{1, 1, 1, 1, 1}, {2, 3}, {1, 4}, {3, 2}}) {
    VaeDecodeCache cache;
    std::vector<at::Tensor> parts;
    int64_t next = 0;
    for (const int64_t size : chunks) {
      parts.push_back(vae.decode_chunk(latent.narrow(2, next, size), cache));
      next += size;
    }
    EXPECT_TRUE(at::equal(at::cat(parts, 2), full)) << shape_string(chunks);
  }
}

TEST(WanVae, StreamedEncodeEqualsFullEncodeForAnyChunks) {
  const WanVae vae(tiny_vae_config(), random_parameters(tiny_vae_config(), 2), VaePart::kEncoder);
  const at::Tensor video = random_tensor({2, 3, 11, 8, 12});  // the last two frames fill no group
  const at::Tensor full = vae.encode(video);
  EXPECT_EQ(full.sizes(), at::IntArrayRef({2, 3, 3, 2, 3}));
  for (const std::vector<int64_t>& chunks : {std::vector<int64_t>{1, 4, 4, 2},
                                             {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                                             {5, 6},
                                             {3, 3, 5},
                                             {11}}) {
    VaeEncodeCache cache;
    std::vector<at::Tensor> parts;
    int64_t next = 0;
    for (const int64_t size : chunks) {
      parts.push_back(vae.encode_chunk(video.narrow(2, next, size), cache));
      next += size;
    }
    EXPECT_TRUE(at::equal(at::cat(parts, 2), full)) << shape_string(chunks);
  }
  EXPECT_TRUE(at::equal(vae.encode(video.narrow(2, 0, 9)), full));
}

TEST(WanVae, CopiedCacheGoesOnAlone) {
  const WanVae vae(tiny_vae_config(), random_parameters(tiny_vae_config(), 3), VaePart::kDecoder);
  const at::Tensor latent = random_tensor({1, 3, 3, 2, 2});
  VaeDecodeCache cache;
  vae.decode_chunk(latent.narrow(2, 0, 2), cache);
  VaeDecodeCache branch = cache;
  const at::Tensor once = vae.decode_chunk(latent.narrow(2, 2, 1), branch);
  EXPECT_TRUE(at::equal(vae.decode_chunk(latent.narrow(2, 2, 1), cache), once));
}

TEST(WanVae, OddSizesRoundDown) {
  const WanVae vae(tiny_vae_config(), random_parameters(tiny_vae_config(), 4));
  EXPECT_EQ(vae.encode(random_tensor({1, 3, 5, 13, 11})).sizes(), at::IntArrayRef({1, 3, 2, 3, 2}));
  EXPECT_EQ(vae.decode(random_tensor({1, 3, 2, 1, 1})).sizes(), at::IntArrayRef({1, 3, 5, 4, 4}));
}

TEST(WanVae, GradientsMatchFiniteDifferences) {
  const OneThread one_thread;
  const VaeConfig config = tiny_vae_config();
  TensorMap parameters = converted(random_parameters(config, 5), at::kDouble);
  parameters["encoder.middle.1.proj.weight"] = random_tensor({8, 8, 1, 1}, at::kDouble);
  for (auto& [name, tensor] : parameters) tensor.requires_grad_(true);
  const WanVae vae(config, parameters);
  const at::Tensor video = random_tensor({1, 3, 9, 4, 8}, at::kDouble);
  const at::Tensor probe = random_tensor({1, 3, 9, 4, 8}, at::kDouble);
  const auto loss = [&] { return (vae.decode(vae.encode(video)) * probe).sum(); };
  loss().backward();
  const std::vector<std::string> names = {
      "encoder.conv1.weight",
      "encoder.downsamples.0.residual.0.gamma",
      "encoder.downsamples.1.time_conv.weight",
      "encoder.middle.1.to_qkv.weight",
      "encoder.head.2.bias",
      "conv1.weight",
      "decoder.conv1.weight",
      "decoder.upsamples.0.residual.2.weight",
      "decoder.upsamples.2.time_conv.weight",
      "decoder.upsamples.2.resample.1.weight",
      "decoder.head.2.weight",
  };
  constexpr double kStep = 1e-5;
  for (const std::string& name : names) {
    at::Tensor& tensor = parameters.at(name);
    const at::Tensor flat = tensor.detach().view({-1});
    const int64_t index = flat.numel() / 2;
    const double value = flat[index].item<double>();
    at::NoGradGuard no_grad;
    flat[index].fill_(value + kStep);
    const double above = loss().item<double>();
    flat[index].fill_(value - kStep);
    const double below = loss().item<double>();
    flat[index].fill_(value);
    const double want = (above - below) / (2 * kStep);
    EXPECT_NEAR(tensor.grad().view({-1})[index].item<double>(), want, 1e-5 * (1 + std::abs(want)))
        << name;
  }
  for (const auto& [name, tensor] : parameters) {
    EXPECT_TRUE(tensor.grad().defined() && tensor.grad().isfinite().all().item<bool>()) << name;
  }
}

TEST(WanVae, KernelsEqualTorch) {
  const OneThread one_thread;
  for (const int64_t dim : {4, 8, 12}) {
    VaeConfig config = tiny_vae_config();
    config.dim = dim;
    TensorMap parameters = random_parameters(config, 10);
    for (auto& [name, tensor] : parameters) tensor.requires_grad_(true);
    const WanVae vae(config, parameters);
    const at::Tensor video = random_tensor({2, 3, 9, 13, 16});
    const auto gradients = [&] {
      for (auto& [name, tensor] : parameters) tensor.mutable_grad().reset();
      const at::Tensor out = vae.decode(vae.encode(video));
      out.square().mean().backward();
      std::map<std::string, at::Tensor> result = {{"out", out.detach()}};
      for (auto& [name, tensor] : parameters) result[name] = tensor.grad();
      return result;
    };
    const auto got = gradients();
    const TorchConvGuard guard;
    for (const auto& [name, want] : gradients()) {
      // A gradient that is zero in exact arithmetic (a bias in front of a norm over one channel,
      // say) is all rounding.
      const double scale = want.norm().item<double>() + 1e-4;
      EXPECT_LT((got.at(name) - want).norm().item<double>() / scale, 1e-4)
          << name << " width " << dim;
    }
    at::NoGradGuard no_grad;
    const at::Tensor without_gradient = vae.decode(vae.encode(video));
    EXPECT_LT(((got.at("out") - without_gradient).norm() / without_gradient.norm()).item<double>(),
              1e-5);
  }
}

TEST(WanVae, DetachedCacheCutsTheGradient) {
  const WanVae vae(tiny_vae_config(), random_parameters(tiny_vae_config(), 6), VaePart::kDecoder);
  const at::Tensor first = random_tensor({1, 3, 1, 2, 2}).requires_grad_(true);
  VaeDecodeCache cache;
  vae.decode_chunk(first, cache);
  VaeDecodeCache cut = cache;
  cut.detach();
  const at::Tensor second = random_tensor({1, 3, 1, 2, 2});
  EXPECT_TRUE(vae.decode_chunk(second, cache).requires_grad());
  EXPECT_FALSE(vae.decode_chunk(second, cut).requires_grad());
}

TEST(WanVae, RunsInSixteenBit) {
  const VaeConfig config = tiny_vae_config();
  const TensorMap parameters = random_parameters(config, 7);
  const at::Tensor video = random_tensor({1, 3, 5, 8, 8});
  const at::Tensor want = WanVae(config, parameters).encode(video);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const WanVae vae(config, converted(parameters, type));
    const at::Tensor latent = vae.encode(video);
    EXPECT_EQ(latent.scalar_type(), type);
    EXPECT_LT(((latent.to(at::kFloat) - want).norm() / want.norm()).item<double>(), 0.05);
    EXPECT_EQ(vae.decode(latent).scalar_type(), type);
  }
}

TEST(WanVae, ShapesAreThoseOfThePublishedCheckpoint) {
  const ShapeMap shapes = parameter_shapes(VaeConfig{});
  EXPECT_EQ(shapes.size(), 194U);
  EXPECT_EQ(shapes.at("decoder.upsamples.4.shortcut.weight"), (Shape{384, 192, 1, 1, 1}));
  EXPECT_EQ(shapes.at("decoder.upsamples.7.time_conv.weight"), (Shape{768, 384, 3, 1, 1}));
  EXPECT_EQ(shapes.at("encoder.downsamples.8.resample.1.weight"), (Shape{384, 384, 3, 3}));
  EXPECT_EQ(shapes.at("conv1.weight"), (Shape{32, 32, 1, 1, 1}));
}

TEST(VaeConfig, CountsFrames) {
  const VaeConfig config = VaeConfig::from_json(Json::object());
  EXPECT_EQ(config.num_frames(21), 81);
  EXPECT_EQ(config.num_latent_frames(81), 21);
  EXPECT_EQ(config.num_latent_frames(84), 21);
  EXPECT_EQ(config.spatial_factor(), 8);
  EXPECT_EQ(config.latent_mean.size(), 16U);
}

TEST(VaeConfig, SaysWhatIsWrong) {
  EXPECT_EQ(
      message_of([] {
        VaeConfig::from_json(Json{{"temporal_downsample", {true}}});
      }),
      "[config] unknown key 'temporal_downsample' in vae; did you mean 'temperal_downsample'?");
  EXPECT_EQ(
      message_of([] {
        VaeConfig::from_json(Json{{"dim_mult", {1, 2}}});
      }),
      "[config] vae.temperal_downsample needs one flag per down stage, 1 for this dim_mult; got 3");
  EXPECT_EQ(message_of([] {
              VaeConfig::from_json(Json{{"latent_std", {1.0}}});
            }),
            "[config] vae.latent_mean and latent_std need z_dim = 16 values; got 16 and 1");
}

TEST(WanVae, SaysWhatIsWrong) {
  const WanVae vae(tiny_vae_config(), random_parameters(tiny_vae_config(), 8), VaePart::kDecoder);
  EXPECT_EQ(message_of([&] {
              vae.encode(at::zeros({1, 3, 1, 8, 8}));
            }),
            "[monarch_models] this VAE was loaded without its encoder");
  EXPECT_EQ(
      message_of([&] {
        vae.decode(at::zeros({1, 16, 1, 8, 8}));
      }),
      "[monarch_models] the VAE takes latents [B, 3, frames, height, width]; got [1, 16, 1, 8, 8]");
  VaeDecodeCache cache;
  vae.decode_chunk(at::zeros({1, 3, 1, 2, 2}), cache);
  EXPECT_EQ(message_of([&] {
              vae.decode_chunk(at::zeros({1, 3, 1, 2, 4}), cache);
            }),
            "[monarch_models] the stream began with [batch, height, width] [1, 2, 2]; got [1, 2, "
            "4]; clear the cache to "
            "begin another");
  TensorMap parameters = random_parameters(tiny_vae_config(), 9);
  parameters.erase("conv2.bias");
  EXPECT_EQ(message_of([&] { WanVae(tiny_vae_config(), parameters); }),
            "[monarch_models] the weights do not fit the Wan VAE:\n  1 missing: conv2.bias\n  "
            "check that the configuration "
            "belongs to this checkpoint");
}

}  // namespace
}  // namespace monarch::models
