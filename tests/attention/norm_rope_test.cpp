// The pass before attention against plain loops in double, for every instruction set.
#include "monarch/attention/norm_rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "monarch/attention/cpu/isa.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

using Doubles = std::vector<double>;

struct Case {
  std::int64_t batch, tokens, heads, dim;
  bool weighted = true, turned = true;

  std::int64_t channels() const { return heads * dim; }
  std::vector<std::int64_t> shape() const { return {batch, tokens, heads, dim}; }
};

// Odd sizes around the widths of vectors; more tokens than a task has; no norm; no rotation.
const Case kCases[] = {{1, 1, 1, 2},   {2, 5, 3, 6},          {1, 37, 2, 34},
                       {2, 20, 4, 32}, {1, 18, 2, 20, false}, {1, 18, 3, 7, true, false}};

constexpr double kEps = 1e-3;

Doubles random_numbers(std::int64_t count, std::uint32_t seed) {
  return random_tensor({count}, DType::kF32, seed).values();
}

std::vector<float> floats(const Doubles& numbers) { return {numbers.begin(), numbers.end()}; }

// cos and sin of an angle for each (token, pair).
Doubles random_angles(const Case& c) {
  Doubles angles = random_numbers(c.tokens * c.dim, 9);
  for (std::size_t pair = 0; pair + 1 < angles.size(); pair += 2) {
    const double angle = 3 * angles[pair];
    angles[pair] = static_cast<float>(std::cos(angle));
    angles[pair + 1] = static_cast<float>(std::sin(angle));
  }
  return angles;
}

Doubles plain_forward(const Case& c, const Doubles& x, const Doubles& weight, const Doubles& rope) {
  Doubles out = x;
  for (std::int64_t row = 0; row < c.batch * c.tokens; ++row) {
    double* y = out.data() + row * c.channels();
    double squares = 0;
    for (std::int64_t ch = 0; ch < c.channels(); ++ch) squares += y[ch] * y[ch];
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(c.channels()) + kEps);
    for (std::int64_t ch = 0; c.weighted && ch < c.channels(); ++ch) y[ch] *= inverse * weight[ch];
    for (std::int64_t ch = 0; c.turned && ch < c.channels(); ch += 2) {
      const double* angle = rope.data() + (row % c.tokens) * c.dim + ch % c.dim;
      const double a = y[ch], b = y[ch + 1];
      y[ch] = a * angle[0] - b * angle[1];
      y[ch + 1] = a * angle[1] + b * angle[0];
    }
  }
  return out;
}

double error(const Doubles& got, const Doubles& want) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(difference / norm);
}

class NormRope : public testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    setenv("MONARCH_ISA", std::string(cpu::isa_name(GetParam())).c_str(), 1);
  }
  void TearDown() override { unsetenv("MONARCH_ISA"); }
};

TEST_P(NormRope, ForwardMatchesPlainLoops) {
  for (const Case& c : kCases) {
    const Doubles weight = random_numbers(c.channels(), 2), rope = random_angles(c);
    const std::vector<float> w = floats(weight), angles = floats(rope);
    for (const auto& [dtype, bound] :
         {std::pair{DType::kF32, 2e-6}, {DType::kBF16, 4e-3}, {DType::kF16, 5e-4}}) {
      const Tensor x = random_tensor(c.shape(), dtype, 1);
      Tensor out(c.shape(), dtype);
      std::vector<float> inverse(c.batch * c.tokens);
      const TokenPass pass{.x = x.view(),
                           .out = out.view(),
                           .weight = c.weighted ? w.data() : nullptr,
                           .rope = c.turned ? angles.data() : nullptr,
                           .inverse_rms = inverse.data()};
      run_token_passes({&pass, 1}, kEps, 2);
      EXPECT_LT(error(out.values(), plain_forward(c, x.values(), weight, rope)), bound)
          << c.tokens << " tokens, " << c.heads << " x " << c.dim << ", " << dtype_name(dtype);
    }
  }
}

TEST_P(NormRope, GradientsMatchDifferences) {
  for (const Case& c : kCases) {
    const Doubles weight = random_numbers(c.channels(), 2), rope = random_angles(c);
    const std::vector<float> w = floats(weight), angles = floats(rope);
    const Tensor x = random_tensor(c.shape(), DType::kF32, 1);
    const Tensor grad_out = random_tensor(c.shape(), DType::kF32, 3);
    Tensor out(c.shape(), DType::kF32), grad_x(c.shape(), DType::kF32);
    std::vector<float> inverse(c.batch * c.tokens), grad_weight(c.channels()),
        sums(num_weight_sums(c.batch, c.tokens) * c.channels());
    const float* weights = c.weighted ? w.data() : nullptr;
    const float* turns = c.turned ? angles.data() : nullptr;
    const TokenPass pass{x.view(), out.view(), weights, turns, inverse.data()};
    run_token_passes({&pass, 1}, kEps, 1);
    run_token_pass_gradient({.x = x.view(),
                             .grad_out = grad_out.view(),
                             .grad_x = grad_x.view(),
                             .weight = weights,
                             .rope = turns,
                             .inverse_rms = inverse.data(),
                             .grad_weight = grad_weight.data(),
                             .workspace = sums},
                            2);
    const Doubles numbers = x.values(), direction = grad_out.values();
    const auto loss = [&](const Doubles& at, const Doubles& weight_at) {
      const Doubles result = plain_forward(c, at, weight_at, rope);
      double sum = 0;
      for (std::size_t i = 0; i < result.size(); ++i) sum += result[i] * direction[i];
      return sum;
    };
    const auto differences = [&](Doubles at, const auto& loss_of) {
      Doubles slopes(at.size());
      for (std::size_t i = 0; i < at.size(); ++i) {
        const double step = 1e-5, middle = at[i];
        at[i] = middle + step;
        const double above = loss_of(at);
        at[i] = middle - step;
        slopes[i] = (above - loss_of(at)) / (2 * step);
        at[i] = middle;
      }
      return slopes;
    };
    EXPECT_LT(error(grad_x.values(),
                    differences(numbers, [&](const Doubles& at) { return loss(at, weight); })),
              5e-6)
        << c.tokens << " tokens, " << c.heads << " x " << c.dim;
    if (!c.weighted) continue;
    EXPECT_LT(error(Doubles(grad_weight.begin(), grad_weight.end()),
                    differences(weight, [&](const Doubles& at) { return loss(numbers, at); })),
              5e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, NormRope, testing::ValuesIn(cpu::available_isas()),
                         [](const auto& info) { return std::string(cpu::isa_name(info.param)); });

TEST(TokenPasses, WriteInBlockOrderBesideOthers) {
  const BlockLayout layout{.height = 4, .width = 6, .f_tied = 2, .h_reduce = 2, .w_reduce = 3};
  constexpr std::int64_t kTokens = 96;
  const Tensor packed = random_tensor({2, kTokens, 4, 8}, DType::kF32, 1);  // two of two heads
  const auto half = [&](std::int64_t first) {
    ConstTensorView view = packed.view();
    view.shape[2] = 2;
    view.data = static_cast<const float*>(view.data) + first * 8;
    return view;
  };
  Tensor plain({2, kTokens, 2, 8}, DType::kF32), ordered({2, kTokens, 2, 8}, DType::kF32);
  const std::vector<TokenPass> passes{{.x = half(0), .out = plain.view()},
                                      {.x = half(2), .out = ordered.view(), .order = layout}};
  run_token_passes(passes, kEps, 3);
  Tensor want({2, kTokens, 2, 8}, DType::kF32);
  copy_to_block_order(layout, half(2), 0, want.view());
  EXPECT_EQ(ordered.values(), want.values());
  copy_to_block_order({.height = 4, .width = 6}, half(0), 0, want.view());
  EXPECT_EQ(plain.values(), want.values());
}

TEST(TokenPasses, SameBitsForAnyNumberOfThreads) {
  constexpr std::int64_t kTokens = 700;
  const Case c{2, kTokens, 3, 10};
  const Tensor x = random_tensor(c.shape(), DType::kF32, 1);
  const Tensor grad_out = random_tensor(c.shape(), DType::kF32, 3);
  const std::vector<float> weight = floats(random_numbers(c.channels(), 2)),
                           rope = floats(random_angles(c));
  std::vector<float> sums(num_weight_sums(2, kTokens) * c.channels());
  std::vector<std::vector<Doubles>> results;
  for (const int threads : {1, 2, 5}) {
    Tensor out(c.shape(), DType::kF32), grad_x(c.shape(), DType::kF32);
    std::vector<float> inverse(2 * kTokens), grad_weight(c.channels());
    const TokenPass pass{x.view(), out.view(), weight.data(), rope.data(), inverse.data()};
    run_token_passes({&pass, 1}, kEps, threads);
    run_token_pass_gradient({.x = x.view(),
                             .grad_out = grad_out.view(),
                             .grad_x = grad_x.view(),
                             .weight = weight.data(),
                             .rope = rope.data(),
                             .inverse_rms = inverse.data(),
                             .grad_weight = grad_weight.data(),
                             .workspace = sums},
                            threads);
    results.push_back(
        {out.values(), grad_x.values(), Doubles(grad_weight.begin(), grad_weight.end())});
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(TokenPasses, SayWhatIsWrong) {
  const Tensor x = random_tensor({1, 4, 2, 8}, DType::kF32, 1);
  Tensor out({1, 4, 2, 8}, DType::kF32);
  const auto message = [&](const ConstTensorView& view, std::optional<BlockLayout> order) {
    const TokenPass pass{.x = view, .out = out.view(), .order = order};
    try {
      run_token_passes({&pass, 1}, kEps, 1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  ConstTensorView heads_first = x.view();
  heads_first.strides = {64, 8, 32, 1};
  EXPECT_EQ(
      message(heads_first, {}),
      "[monarch_attention] x has strides [64, 8, 32, 1]; the heads of a token must follow one "
      "another, 8 elements apart");
  EXPECT_EQ(message(x.view(), BlockLayout{.height = 1, .width = 3, .w_reduce = 3}),
            "[monarch_attention] 4 tokens do not fill groups of f_tied * height * width = 3");
  EXPECT_EQ(token_pass_refusal(DType::kF64, 16), "the norm takes F32, BF16 or F16, not F64");
  EXPECT_EQ(token_pass_refusal(DType::kF32, 10000),
            "the norm takes up to 8192 channels, not 10000");
}

}  // namespace
}  // namespace monarch::attention::test
