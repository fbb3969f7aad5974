// The backward of the CUDA kernels of a transformer layer's elementwise parts on the emulated GPU
// against differences and sums in double. Nothing but the gradients is rounded to 16 bits: the
// bound is what one rounding does.
#include "monarch/attention/cuda/modulate_gradient.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "tests/attention/cuda/emulate.h"
#include "tests/attention/cuda/modulate_case.h"
#include "tests/attention/support/tensor.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

constexpr double kEps = 1e-3;

using Case = ModulateCase;

void expect_right(const Case& c, const char* name, const Tensor& got, const Tensor& want) {
  EXPECT_LE(relative_error(got, want), c.dtype == DType::kBF16 ? std::exp2(-8) : std::exp2(-11))
      << name << ' ' << c.tokens << " x " << c.channels << ' ' << worst_element(got, want);
}

// The derivative of `of` at x.
double slope(const std::function<double(double)>& of, double x) {
  constexpr double kStep = 1e-4;
  return (of(x + kStep) - of(x - kStep)) / (2 * kStep);
}

// A token normalised.
std::vector<double> normed(const std::vector<double>& x) {
  double mean = 0;
  double variance = 0;
  for (const double value : x) mean += value / double(x.size());
  for (const double value : x) variance += (value - mean) * (value - mean) / double(x.size());
  std::vector<double> result = x;
  for (double& value : result) value = (value - mean) / std::sqrt(variance + kEps);
  return result;
}

std::vector<float> workspace(const Case& c, std::int64_t modulations) {
  return std::vector<float>(
      static_cast<std::size_t>(modulations * c.channels *
                               cuda::num_modulation_sums(c.batch, c.tokens, c.runs)),
      std::nanf(""));
}

struct NormGradients {
  Tensor x, shift, scale;
};

NormGradients check_norm(const Case& c, double mean = 0, bool backwards = false) {
  Tensor x = random_tensor(c.shape(), c.dtype, 1, 1, c.padding);
  for (std::int64_t index = 0; index < x.size(); ++index) x.set(index, x.get(index) + mean);
  const Tensor grad_out = random_tensor(c.shape(), c.dtype, 2);
  const Tensor scale = random_tensor(c.modulation_shape(), c.dtype, 3);
  NormGradients got{c.result(c.shape(), c.padding), c.result(c.modulation_shape()),
                    c.result(c.modulation_shape())};
  std::vector<float> sums = workspace(c, 2);
  emulate(cuda::modulate_gradient_args(cuda::ModulatedNormGradient{.x = read_only(x.view()),
                                                                   .scale = scale.view(),
                                                                   .grad_out = grad_out.view(),
                                                                   .grad_x = got.x.view(),
                                                                   .grad_shift = got.shift.view(),
                                                                   .grad_scale = got.scale.view(),
                                                                   .eps = kEps,
                                                                   .workspace = sums}),
          c.dtype, backwards);
  Tensor want_x(c.shape(), DType::kF64);
  Tensor want_shift(c.modulation_shape(), DType::kF64);
  Tensor want_scale(c.modulation_shape(), DType::kF64);
  for (std::int64_t row = 0; row < c.rows(); ++row) {
    const std::int64_t first = row * c.channels;
    const std::int64_t modulation = c.run(row) * c.channels;
    std::vector<double> token;
    for (std::int64_t ch = 0; ch < c.channels; ++ch) token.push_back(x.get(first + ch));
    const std::vector<double> n = normed(token);
    for (std::int64_t ch = 0; ch < c.channels; ++ch) {
      const double g = grad_out.get(first + ch);
      want_shift.set(modulation + ch, want_shift.get(modulation + ch) + g);
      want_scale.set(modulation + ch, want_scale.get(modulation + ch) + g * n[std::size_t(ch)]);
      const auto loss = [&](double value) {
        std::vector<double> moved = token;
        moved[std::size_t(ch)] = value;
        moved = normed(moved);
        double sum = 0;
        for (std::int64_t i = 0; i < c.channels; ++i) {
          sum += grad_out.get(first + i) * moved[std::size_t(i)] * (1 + scale.get(modulation + i));
        }
        return sum;
      };
      want_x.set(first + ch, slope(loss, token[std::size_t(ch)]));
    }
  }
  expect_right(c, "grad_x", got.x, want_x);
  expect_right(c, "grad_shift", got.shift, want_shift);
  expect_right(c, "grad_scale", got.scale, want_scale);
  return got;
}

void check_gated_add(const Case& c) {
  const Tensor y = random_tensor(c.shape(), c.dtype, 1, 1, c.padding);
  const Tensor grad_out = random_tensor(c.shape(), c.dtype, 2);
  const Tensor gate = random_tensor(c.modulation_shape(), c.dtype, 3);
  Tensor grad_y = c.result(c.shape(), c.padding);
  Tensor grad_gate = c.result(c.modulation_shape());
  std::vector<float> sums = workspace(c, 1);
  emulate(cuda::modulate_gradient_args(cuda::GatedAddGradient{.gate = gate.view(),
                                                              .y = y.view(),
                                                              .grad_out = grad_out.view(),
                                                              .grad_gate = grad_gate.view(),
                                                              .grad_y = grad_y.view(),
                                                              .workspace = sums}),
          c.dtype);
  Tensor want_y(c.shape(), DType::kF64);
  Tensor want_gate(c.modulation_shape(), DType::kF64);
  for (std::int64_t row = 0; row < c.rows(); ++row) {
    for (std::int64_t ch = 0; ch < c.channels; ++ch) {
      const std::int64_t at = row * c.channels + ch;
      const std::int64_t modulation = c.run(row) * c.channels + ch;
      want_y.set(at, grad_out.get(at) * gate.get(modulation));
      want_gate.set(modulation, want_gate.get(modulation) + grad_out.get(at) * y.get(at));
    }
  }
  expect_right(c, "grad_y", grad_y, want_y);
  expect_right(c, "grad_gate", grad_gate, want_gate);
}

void check_gelu(const Case& c) {
  const Tensor x = random_tensor(c.shape(), c.dtype, 1, 3, c.padding);
  const Tensor grad_out = random_tensor(c.shape(), c.dtype, 2);
  Tensor grad_x = c.result(c.shape(), c.padding);
  emulate(cuda::modulate_gradient_args(cuda::GeluTanhGradient{
              .x = x.view(), .grad_out = grad_out.view(), .grad_x = grad_x.view()}),
          c.dtype);
  const auto gelu = [](double v) {
    return v / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
  };
  Tensor want(c.shape(), DType::kF64);
  for (std::int64_t at = 0; at < want.size(); ++at) {
    want.set(at, grad_out.get(at) * slope(gelu, x.get(at)));
  }
  expect_right(c, "grad_x", grad_x, want);
}

TEST(CudaModulateGradient, ChannelsTypesRunsAndBatches) {
  for (const std::int64_t channels : {8, 24, 1528, 1536, 1544}) {
    check_norm({.channels = channels});
    check_gated_add({.tokens = 2, .channels = channels});
    check_gelu({.channels = channels});
  }
  check_gated_add({.channels = 6144});
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const std::int64_t batches : {1, 2}) {
      const Case c{.batch = 2,
                   .tokens = 12,
                   .channels = 40,
                   .runs = 3,
                   .modulated_batches = batches,
                   .dtype = dtype,
                   .padding = {.token = 8}};
      check_norm(c);
      check_gated_add(c);
      check_gelu(c);
    }
  }
  check_gelu({.channels = 8960});  // the hidden channels of Wan 1.3B: more than a norm takes
}

TEST(CudaModulateGradient, AMeanFarFromZeroCostsNoDigits) {
  check_norm({.tokens = 3, .channels = 64, .dtype = DType::kF16}, 100);
}

// More tokens than thread blocks, in any order of those.
TEST(CudaModulateGradient, SumsOfManyTokensAreTheSameBitsInAnyOrder) {
  const Case c{.batch = 2, .tokens = 522, .channels = 16, .runs = 2};
  const NormGradients one = check_norm(c);
  const NormGradients other = check_norm(c, 0, true);
  EXPECT_EQ(one.shift.values(), other.shift.values());
  EXPECT_EQ(one.scale.values(), other.scale.values());
  check_gated_add(c);
}

TEST(CudaModulateGradient, OfLargeValuesIsZeroOrOne) {
  Tensor x({1, 1, 8}, DType::kBF16);
  x.assign({-1e30, -100, -20, -10, 10, 20, 100, 1e30});
  Tensor ones({1, 1, 8}, DType::kBF16);
  ones.fill(1);
  Tensor grad_x({1, 1, 8}, DType::kBF16);
  emulate(
      cuda::modulate_gradient_args(cuda::GeluTanhGradient{
          .x = read_only(x.view()), .grad_out = read_only(ones.view()), .grad_x = grad_x.view()}),
      DType::kBF16);
  for (std::int64_t at = 0; at < 8; ++at) EXPECT_NEAR(grad_x.get(at), at < 4 ? 0 : 1, 1e-30) << at;
}

TEST(CudaModulateGradient, NamesWhatItNeeds) {
  Tensor y({1, 6, 16}, DType::kBF16);
  Tensor gate({1, 2, 16}, DType::kBF16);
  Tensor other({1, 3, 16}, DType::kBF16);
  const auto error = [&](Tensor& grad_gate) {
    return message_of([&] {
      cuda::modulate_gradient_args(cuda::GatedAddGradient{.gate = read_only(gate.view()),
                                                          .y = read_only(y.view()),
                                                          .grad_out = read_only(y.view()),
                                                          .grad_gate = grad_gate.view(),
                                                          .grad_y = y.view()});
    });
  };
  EXPECT_EQ(error(other),
            "[monarch_attention] grad_gate has shape [1, 3, 16]; expected [1, 2, 16]");
  EXPECT_EQ(error(gate), "[monarch_attention] the workspace has 0 bytes; this plan needs 384");
}

}  // namespace
}  // namespace monarch::attention::test
