// The CUDA kernels of a transformer layer's elementwise parts on the emulated GPU against plain
// loops in double. Nothing but the output is rounded to 16 bits: the bound is what one rounding
// does.
#include "monarch/attention/cuda/modulate.h"

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

// `value(row, channel)` is the definition.
void expect_right(const Case& c, const Tensor& got,
                  const std::function<double(std::int64_t, std::int64_t)>& value) {
  Tensor want(c.shape(), DType::kF64);
  for (std::int64_t row = 0; row < c.batch * c.tokens; ++row) {
    for (std::int64_t ch = 0; ch < c.channels; ++ch) {
      want.set(row * c.channels + ch, value(row, ch));
    }
  }
  EXPECT_LE(relative_error(got, want), c.dtype == DType::kBF16 ? std::exp2(-8) : std::exp2(-11))
      << c.tokens << " x " << c.channels << ' ' << worst_element(got, want);
}

void check_norm(const Case& c, double mean = 0) {
  Tensor x = random_tensor(c.shape(), c.dtype, 1, 1, c.padding);
  for (std::int64_t index = 0; index < x.size(); ++index) x.set(index, x.get(index) + mean);
  const Tensor shift = c.modulation(2);
  const Tensor scale = c.modulation(3);
  Tensor out = c.result(c.shape(), c.padding);
  emulate(cuda::modulate_args(cuda::ModulatedNorm{.x = read_only(x.view()),
                                                  .shift = shift.view(),
                                                  .scale = scale.view(),
                                                  .out = out.view(),
                                                  .eps = kEps}),
          c.dtype);
  expect_right(c, out, [&](std::int64_t row, std::int64_t ch) {
    double sum = 0;
    for (std::int64_t i = 0; i < c.channels; ++i) sum += x.get(row * c.channels + i);
    const double average = sum / double(c.channels);
    double squares = 0;
    for (std::int64_t i = 0; i < c.channels; ++i) {
      squares += std::pow(x.get(row * c.channels + i) - average, 2);
    }
    const std::int64_t at = c.run(row) * c.channels + ch;
    return (x.get(row * c.channels + ch) - average) /
               std::sqrt(squares / double(c.channels) + kEps) * (1 + scale.get(at)) +
           shift.get(at);
  });
}

void check_gated_add(const Case& c, bool in_place) {
  Tensor x = random_tensor(c.shape(), c.dtype, 1, 1, c.padding);
  const Tensor before = x;
  const Tensor y = random_tensor(c.shape(), c.dtype, 2);
  const Tensor gate = c.modulation(3);
  Tensor out(c.shape(), c.dtype);
  out.fill(std::nan(""));
  emulate(cuda::modulate_args(cuda::GatedAdd{.x = read_only(x.view()),
                                             .gate = gate.view(),
                                             .y = y.view(),
                                             .out = in_place ? x.view() : out.view()}),
          c.dtype);
  expect_right(c, in_place ? x : out, [&](std::int64_t row, std::int64_t ch) {
    return before.get(row * c.channels + ch) +
           gate.get(c.run(row) * c.channels + ch) * y.get(row * c.channels + ch);
  });
}

void check_gelu(const Case& c) {
  const Tensor x = random_tensor(c.shape(), c.dtype, 1, 3, c.padding);
  Tensor out(c.shape(), c.dtype);
  out.fill(std::nan(""));
  emulate(cuda::modulate_args(x.view(), out.view()), c.dtype);
  expect_right(c, out, [&](std::int64_t row, std::int64_t ch) {
    const double v = x.get(row * c.channels + ch);
    return v / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
  });
}

TEST(CudaModulate, ChannelsTypesRunsAndBatches) {
  for (const std::int64_t channels : {8, 24, 1528, 1536, 1544, 6144}) {
    check_norm({.tokens = 2, .channels = channels});
    check_gated_add({.tokens = 2, .channels = channels}, false);
    check_gelu({.tokens = 2, .channels = channels});
  }
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
      check_gated_add(c, true);
      check_gelu(c);
    }
  }
  check_gelu({.channels = 8960});  // the hidden channels of Wan 1.3B: more than a norm takes
}

TEST(CudaModulate, AMeanFarFromZeroCostsNoDigits) {
  check_norm({.tokens = 3, .channels = 256, .dtype = DType::kF16}, 100);
}

TEST(CudaModulate, GeluOfLargeValuesIsFinite) {
  Tensor x({1, 1, 8}, DType::kBF16);
  x.assign({-1e30, -100, -20, 0, 20, 100, 1e30, -0.0});
  Tensor out({1, 1, 8}, DType::kBF16);
  emulate(cuda::modulate_args(read_only(x.view()), out.view()), DType::kBF16);
  for (const std::int64_t index : {0, 1, 2, 3, 7}) EXPECT_EQ(out.get(index), 0) << index;
  for (const std::int64_t index : {4, 5, 6}) EXPECT_EQ(out.get(index), x.get(index)) << index;
}

TEST(CudaModulate, NamesWhatItCannotDo) {
  Tensor x({1, 6, 16}, DType::kBF16);
  Tensor gate({1, 4, 16}, DType::kBF16);
  Tensor wide({1, 6, 16}, DType::kF32);
  Tensor odd({1, 6, 12}, DType::kBF16);
  const auto add = [&](Tensor& of, Tensor& with) {
    return message_of([&] {
      cuda::modulate_args(cuda::GatedAdd{.x = read_only(of.view()),
                                         .gate = read_only(gate.view()),
                                         .y = read_only(with.view()),
                                         .out = of.view()});
    });
  };
  EXPECT_EQ(add(x, x),
            "[monarch_attention] 6 tokens do not split into runs for a modulation of shape "
            "[1, 4, 16]");
  EXPECT_EQ(add(x, wide), "[monarch_attention] y has dtype F32 while x has BF16");
  EXPECT_EQ(add(x, odd), "[monarch_attention] y has shape [1, 6, 12]; expected [1, 6, 16]");
  EXPECT_EQ(add(wide, wide), "[monarch_attention] the CUDA kernels take BF16 or F16, not F32");
  EXPECT_EQ(
      add(odd, odd),
      "[monarch_attention] the CUDA kernels take up to 6144 channels, a multiple of 8; got 12");
}

}  // namespace
}  // namespace monarch::attention::test
