// The backward of the CUDA pass before attention on the emulated GPU against plain loops in double.
// grad_x is rounded to 16 bits once, grad_weight never.
#include <gtest/gtest.h>

#include <cmath>

#include "monarch/attention/cuda/norm_rope.h"
#include "tests/attention/cuda/emulate.h"
#include "tests/attention/support/tensor.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

constexpr double kEps = 1e-3;

struct Case {
  std::int64_t batch = 1;
  std::int64_t tokens = 3;
  std::int64_t heads = 1;
  std::int64_t head_dim = 8;
  bool weighted = true;
  bool turned = true;
  DType dtype = DType::kBF16;
  Padding padding = {};

  std::int64_t channels() const { return heads * head_dim; }
};

struct Results {
  Tensor grad_x;
  std::vector<float> grad_weight;
};

Results check(const Case& c, bool backwards = false) {
  const std::vector<std::int64_t> shape{c.batch, c.tokens, c.heads, c.head_dim};
  const Tensor x = random_tensor(shape, c.dtype, 1, 1, c.padding);
  const Tensor grad_out = random_tensor(shape, c.dtype, 2);
  const Tensor weight = random_tensor({c.channels()}, DType::kF32, 3);
  Tensor rope({c.tokens, c.head_dim}, DType::kF32);
  for (std::int64_t pair = 0; pair < rope.size() / 2; ++pair) {
    rope.set(2 * pair, std::cos(0.7 * double(pair)));
    rope.set(2 * pair + 1, std::sin(0.7 * double(pair)));
  }
  const std::int64_t rows = c.batch * c.tokens;
  Tensor inverse({rows}, DType::kF32);
  Tensor want(shape, DType::kF64);
  std::vector<double> want_weight(static_cast<std::size_t>(c.channels()));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t first = row * c.channels();
    double squares = 0;
    for (std::int64_t ch = 0; ch < c.channels(); ++ch) squares += std::pow(x.get(first + ch), 2);
    inverse.set(row, 1 / std::sqrt(squares / double(c.channels()) + kEps));
    const double scale = 1 / std::sqrt(squares / double(c.channels()) + kEps);
    std::vector<double> g(static_cast<std::size_t>(c.channels()));
    double mean = 0;
    for (std::int64_t ch = 0; ch < c.channels(); ++ch) {
      const std::int64_t even = ch - ch % 2;
      const double a = grad_out.get(first + even);
      const double b = grad_out.get(first + even + 1);
      const std::int64_t angle = row % c.tokens * c.head_dim + even % c.head_dim;
      const double cosine = c.turned ? rope.get(angle) : 1;
      const double sine = c.turned ? rope.get(angle + 1) : 0;
      g[ch] = ch % 2 == 0 ? a * cosine + b * sine : b * cosine - a * sine;
      if (!c.weighted) continue;
      const double normed = x.get(first + ch) * scale;
      want_weight[ch] += g[ch] * normed;
      g[ch] *= weight.get(ch);
      mean += g[ch] * normed / double(c.channels());
    }
    for (std::int64_t ch = 0; ch < c.channels(); ++ch) {
      const double through = scale * (g[ch] - x.get(first + ch) * scale * mean);
      want.set(first + ch, c.weighted ? through : g[ch]);
    }
  }

  Results got{Tensor(shape, c.dtype, c.padding),
              std::vector<float>(static_cast<std::size_t>(c.channels()), std::nanf(""))};
  got.grad_x.fill(std::nan(""));
  std::vector<float> sums(
      static_cast<std::size_t>(cuda::num_weight_sums(c.batch, c.tokens) * c.channels()),
      std::nanf(""));
  const auto floats = [](const Tensor& tensor) {
    return static_cast<const float*>(tensor.view().data);
  };
  emulate(
      cuda::norm_rope_gradient_args({.x = x.view(),
                                     .grad_out = grad_out.view(),
                                     .grad_x = got.grad_x.view(),
                                     .weight = c.weighted ? floats(weight) : nullptr,
                                     .rope = c.turned ? floats(rope) : nullptr,
                                     .inverse_rms = c.weighted ? floats(inverse) : nullptr,
                                     .grad_weight = c.weighted ? got.grad_weight.data() : nullptr,
                                     .workspace = sums}),
      c.dtype, backwards);
  EXPECT_LE(relative_error(got.grad_x, want),
            c.dtype == DType::kBF16 ? std::exp2(-8) : std::exp2(-11))
      << c.channels() << " channels " << worst_element(got.grad_x, want);
  if (!c.weighted) return got;
  for (std::size_t ch = 0; ch < want_weight.size(); ++ch) {
    EXPECT_NEAR(got.grad_weight[ch], want_weight[ch], 1e-5 * std::sqrt(double(rows))) << ch;
  }
  return got;
}

TEST(CudaNormRopeGradient, ChannelsTypesAndParts) {
  for (const std::int64_t heads : {1, 191, 192, 193, 768}) check({.heads = heads});
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const bool weighted : {false, true}) {
      for (const bool turned : {false, true}) {
        check({.batch = 2,
               .tokens = 5,
               .heads = 3,
               .head_dim = 24,
               .weighted = weighted,
               .turned = turned,
               .dtype = dtype,
               .padding = {.token = 8}});
      }
    }
  }
}

// More tokens than thread blocks, in any order of those.
TEST(CudaNormRopeGradient, SumsOfManyTokensAreTheSameBitsInAnyOrder) {
  const Case c{.batch = 2, .tokens = 260, .heads = 2};
  EXPECT_EQ(check(c).grad_weight, check(c, true).grad_weight);
}

TEST(CudaNormRopeGradient, NamesWhatItNeeds) {
  Tensor x({1, 2, 2, 8}, DType::kBF16);
  std::vector<float> numbers(64);
  TokenPassGradient pass{.x = read_only(x.view()),
                         .grad_out = read_only(x.view()),
                         .grad_x = x.view(),
                         .weight = numbers.data(),
                         .workspace = {}};
  const auto error = [&] { return message_of([&] { cuda::norm_rope_gradient_args(pass); }); };
  EXPECT_EQ(error(),
            "[monarch_attention] the norm's backward needs the forward's inverse_rms and a "
            "grad_weight");
  pass.inverse_rms = numbers.data();
  pass.grad_weight = numbers.data();
  EXPECT_EQ(error(), "[monarch_attention] the workspace has 0 bytes; this plan needs 128");
}

}  // namespace
}  // namespace monarch::attention::test
