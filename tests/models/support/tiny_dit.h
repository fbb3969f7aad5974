// A tiny transformer with random weights, and inputs for it.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "monarch/base/error.h"
#include "monarch/models/wan/dit.h"
#include "tests/support/message_of.h"

namespace monarch::models {

inline WanConfig tiny_config() {
  WanConfig config;
  config.in_dim = config.out_dim = 4;
  config.dim = 24;
  config.ffn_dim = 40;
  config.freq_dim = 16;
  config.text_dim = 12;
  config.text_len = 6;
  config.num_heads = 2;
  config.num_layers = 2;
  return config;
}

inline at::Generator seeded(uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(seed);
}

inline at::Tensor normal(at::IntArrayRef shape, uint64_t seed, at::ScalarType type = at::kFloat) {
  return at::randn(shape, seeded(seed), at::kDouble).to(type);
}

// Random everywhere: the initial output layer of zeros would hide all errors.
inline TensorMap random_weights(const WanConfig& config, at::ScalarType type = at::kFloat) {
  TensorMap weights;
  uint64_t seed = 100;
  for (const auto& [name, shape] : dit_parameter_shapes(config)) {
    at::Tensor values = normal(shape, seed++, at::kDouble).mul_(0.2);
    if (name.find("norm") != std::string::npos && name.ends_with("weight")) values += 1;
    weights.emplace(name, values.to(type));
  }
  return weights;
}

// 2 samples of `frames` latent frames of 4 x 6, one timestep a frame.
inline DitInput random_input(int64_t frames, at::ScalarType type = at::kFloat) {
  return {.x = normal({2, 4, frames, 4, 6}, 1, type),
          .t = at::linspace(100, 900, 2 * frames).view({2, frames}),
          .context = normal({2, 6, 12}, 2, type)};
}

inline DitInput frames_of(const DitInput& input, int64_t begin, int64_t end) {
  return {.x = input.x.slice(2, begin, end),
          .t = input.t.slice(1, begin, end),
          .context = input.context};
}

inline double difference(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  return ((got - want).to(at::kDouble).norm() / want.to(at::kDouble).norm()).item<double>();
}

// Tokens of a frame of random_input.
inline constexpr int64_t kFrameTokens = 6;

}  // namespace monarch::models
