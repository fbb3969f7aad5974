#include "monarch/models/wan/umt5.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "tests/support/message_of.h"

namespace monarch::models {
namespace {

Umt5Config tiny_config() {
  Umt5Config config;
  config.vocab_size = 50;
  config.dim = 12;
  config.dim_attn = 16;
  config.dim_ffn = 20;
  config.num_heads = 2;
  config.num_layers = 2;
  config.seq_len = 10;
  return config;
}

at::Tensor ids_of(std::vector<int64_t> values) {
  const auto size = static_cast<int64_t>(values.size());
  return at::tensor(values, at::kLong).view({1, size});
}

double relative_difference(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kDouble) - want.to(at::kDouble)).norm() / want.to(at::kDouble).norm())
      .item<double>();
}

TEST(Umt5, PaddingDoesNotMatter) {
  const Umt5Encoder encoder(tiny_config(), random_parameters(tiny_config(), 1));
  const at::Tensor alone = encoder.encode(ids_of({5, 9, 1}), ids_of({1, 1, 1}));
  const at::Tensor padded_ids = ids_of({5, 9, 1, 0, 0, 7});
  const at::Tensor mask = ids_of({1, 1, 1, 0, 0, 0});
  EXPECT_LT(relative_difference(encoder.encode(padded_ids, mask).narrow(1, 0, 3), alone), 1e-6);
  const at::Tensor embeds = encoder.embeds(padded_ids, mask);
  EXPECT_EQ(embeds.sizes(), at::IntArrayRef({1, 6, 12}));
  EXPECT_LT(relative_difference(embeds.narrow(1, 0, 3), alone), 1e-6);
  EXPECT_EQ(embeds.narrow(1, 3, 3).abs().max().item<float>(), 0.0F);
}

TEST(Umt5, BatchOfDifferentLengths) {
  const Umt5Encoder encoder(tiny_config(), random_parameters(tiny_config(), 2));
  const at::Tensor ids = at::cat({ids_of({5, 9, 1, 0}), ids_of({3, 1, 0, 0})});
  const at::Tensor mask = at::cat({ids_of({1, 1, 1, 0}), ids_of({1, 1, 0, 0})});
  const at::Tensor both = encoder.embeds(ids, mask);
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_LT(relative_difference(both.narrow(0, i, 1),
                                  encoder.embeds(ids.narrow(0, i, 1), mask.narrow(0, i, 1))),
              1e-6);
  }
}

TEST(Umt5, StoredInSixteenBitComputesInThirtyTwo) {
  TensorMap stored = random_parameters(tiny_config(), 3);
  TensorMap widened;
  for (auto& [name, tensor] : stored) {
    tensor = tensor.to(at::kBFloat16);
    widened[name] = tensor.to(at::kFloat);
  }
  const at::Tensor ids = ids_of({5, 9, 1});
  const at::Tensor mask = ids_of({1, 1, 1});
  const at::Tensor want = Umt5Encoder(tiny_config(), widened).encode(ids, mask);
  EXPECT_LT(relative_difference(Umt5Encoder(tiny_config(), stored).encode(ids, mask), want), 1e-6);
  const at::Tensor low = Umt5Encoder(tiny_config(), stored, at::kBFloat16).encode(ids, mask);
  EXPECT_EQ(low.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_difference(low, want), 0.05);
}

TEST(Umt5, GradientsMatchFiniteDifferences) {
  for (const bool shared : {false, true}) {
    Umt5Config config = tiny_config();
    config.shared_pos = shared;
    TensorMap parameters = random_parameters(config, 4);
    for (auto& [name, tensor] : parameters) tensor = tensor.to(at::kDouble).requires_grad_(true);
    const Umt5Encoder encoder(config, parameters, at::kDouble);
    at::manual_seed(1);
    const at::Tensor probe = at::randn({1, 4, 12}, at::kDouble);
    const auto loss = [&] {
      return (encoder.encode(ids_of({5, 9, 1, 0}), ids_of({1, 1, 1, 0})) * probe).sum();
    };
    loss().backward();
    for (auto& [name, tensor] : parameters) {
      const at::Tensor grad = tensor.grad();
      ASSERT_TRUE(grad.defined()) << name;
      const int64_t index = grad.abs().view({-1}).argmax().item<int64_t>();
      const at::Tensor flat = tensor.detach().view({-1});
      const double value = flat[index].item<double>();
      constexpr double kStep = 1e-5;
      at::NoGradGuard no_grad;
      flat[index].fill_(value + kStep);
      const double above = loss().item<double>();
      flat[index].fill_(value - kStep);
      const double below = loss().item<double>();
      flat[index].fill_(value);
      const double want = (above - below) / (2 * kStep);
      EXPECT_NEAR(grad.view({-1})[index].item<double>(), want, 1e-5 * (1 + std::abs(want))) << name;
    }
  }
}

TEST(Umt5, BucketsOfKnownDistances) {
  const at::Tensor relative =
      at::tensor({0, 1, -1, 7, 8, -8, 16, 32, 64, 127, 128, 5000}, at::kLong);
  const at::Tensor want = at::tensor({0, 17, 1, 23, 24, 8, 26, 28, 30, 31, 31, 31}, at::kLong);
  EXPECT_TRUE(at::equal(t5_relative_position_bucket(relative, 32, 128), want));
  const at::Tensor causal = at::tensor({3, 0, -15, -16, -127, -128}, at::kLong);
  const at::Tensor causal_want = at::tensor({0, 0, 15, 16, 31, 31}, at::kLong);
  EXPECT_TRUE(at::equal(t5_relative_position_bucket(causal, 32, 128, false), causal_want));
}

TEST(Umt5, SaysWhatIsWrong) {
  const Umt5Encoder encoder(tiny_config(), random_parameters(tiny_config(), 5));
  EXPECT_EQ(message_of([&] {
              encoder.encode(ids_of({5, 50}), ids_of({1, 1}));
            }),
            "[monarch_models] token ids must be in [0, 50); got 5 to 50; is this the tokenizer of "
            "another model?");
  EXPECT_EQ(message_of([&] {
              encoder.embeds(ids_of({5, 5}), ids_of({1}));
            }),
            "[monarch_models] the text encoder takes ids and mask of one shape [B, L]; got [1, 2] "
            "and [1, 1]");
  EXPECT_EQ(message_of([&] {
              Umt5Config::from_json(Json{{"num_heads", 7}});
            }),
            "[config] umt5.dim_attn 4096 must be a positive multiple of num_heads 7");
}

}  // namespace
}  // namespace monarch::models
