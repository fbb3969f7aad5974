// The CUDA pass before attention on the emulated GPU against plain loops in double. Nothing but the
// output is rounded to 16 bits: the bound is the most that one rounding does.
#include "monarch/attention/cuda/norm_rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/attention/cuda/emulate.h"
#include "tests/attention/support/tensor.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

struct Case {
  std::int64_t batch = 1;
  std::int64_t heads = 1;
  std::int64_t head_dim = 8;
  BlockLayout layout = {};
  std::int64_t frames = 1;
  bool weighted = true;
  bool turned = true;
  bool block_order = false;
  DType dtype = DType::kBF16;
  Padding padding = {};

  std::int64_t tokens() const { return frames * layout.frame_tokens(); }
  std::int64_t channels() const { return heads * head_dim; }
  std::vector<std::int64_t> shape() const { return {batch, tokens(), heads, head_dim}; }
};

constexpr double kEps = 1e-3;

// Operands, and what the formulas make of them.
struct Problem {
  explicit Problem(const Case& c, std::uint32_t seed)
      : x(random_tensor(c.shape(), c.dtype, seed, 1, c.padding)),
        out(c.shape(), c.dtype, c.padding),
        want(c.shape(), DType::kF64),
        inverse_rms(static_cast<std::size_t>(c.batch * c.tokens()), std::nanf("")) {
    out.fill(std::nan(""));
    for (const double w : random_tensor({c.channels()}, DType::kF32, seed + 1).values()) {
      weight.push_back(static_cast<float>(w));
    }
    for (const double a :
         random_tensor({c.tokens() * c.head_dim / 2}, DType::kF32, seed + 2).values()) {
      rope.push_back(static_cast<float>(std::cos(3 * a)));
      rope.push_back(static_cast<float>(std::sin(3 * a)));
    }
    for (std::int64_t row = 0; row < c.batch * c.tokens(); ++row) fill_row(c, row);
    pass = {.x = read_only(x.view()),
            .out = out.view(),
            .weight = c.weighted ? weight.data() : nullptr,
            .rope = c.turned ? rope.data() : nullptr,
            .inverse_rms = inverse_rms.data()};
    if (c.block_order) pass.order = c.layout;
  }

  void fill_row(const Case& c, std::int64_t row) {
    const std::int64_t token = row % c.tokens();
    std::vector<double> y;
    double squares = 0;
    for (std::int64_t ch = 0; ch < c.channels(); ++ch) {
      y.push_back(x.get(row * c.channels() + ch));
      squares += y.back() * y.back();
    }
    const double inverse = 1 / std::sqrt(squares / double(c.channels()) + kEps);
    want_inverse.push_back(inverse);
    const std::int64_t place = c.block_order ? c.layout.position_of_token(token) : token;
    const std::int64_t to = (row - token + place) * c.channels();
    for (std::int64_t ch = 0; ch < c.channels(); ++ch) {
      if (c.weighted) y[ch] *= inverse * weight[ch];
    }
    for (std::int64_t ch = 0; ch < c.channels(); ch += 2) {
      const float* const angle = rope.data() + token * c.head_dim + ch % c.head_dim;
      want.set(to + ch, c.turned ? y[ch] * angle[0] - y[ch + 1] * angle[1] : y[ch]);
      want.set(to + ch + 1, c.turned ? y[ch] * angle[1] + y[ch + 1] * angle[0] : y[ch + 1]);
    }
  }

  Tensor x;
  Tensor out;
  Tensor want;
  std::vector<float> weight;
  std::vector<float> rope;
  std::vector<float> inverse_rms;
  std::vector<double> want_inverse;
  TokenPass pass;
};

void expect_right(const Case& c, const Problem& problem) {
  EXPECT_LE(relative_error(problem.out, problem.want),
            c.dtype == DType::kBF16 ? std::exp2(-8) : std::exp2(-11))
      << c.channels() << " channels " << worst_element(problem.out, problem.want);
  if (!c.weighted) return;
  for (std::size_t row = 0; row < problem.want_inverse.size(); ++row) {
    EXPECT_NEAR(problem.inverse_rms[row] / problem.want_inverse[row], 1, 1e-5);
  }
}

void check(const Case& c) {
  Problem problem(c, 1);
  emulate(cuda::norm_rope_args({&problem.pass, 1}, kEps), c.dtype);
  expect_right(c, problem);
}

const BlockLayout kGrid{.height = 4, .width = 6, .f_tied = 2, .h_reduce = 2, .w_reduce = 3};

TEST(CudaNormRope, ChannelsTypesAndParts) {
  for (const std::int64_t heads : {1, 3, 191, 192, 193, 768}) check({.heads = heads});
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const bool weighted : {false, true}) {
      for (const bool turned : {false, true}) {
        check({.batch = 2,
               .heads = 3,
               .head_dim = 24,
               .layout = {.height = 2, .width = 3},
               .weighted = weighted,
               .turned = turned,
               .dtype = dtype});
      }
    }
  }
}

TEST(CudaNormRope, WritesIntoBlockOrder) {
  check(
      {.batch = 2, .heads = 2, .head_dim = 16, .layout = kGrid, .frames = 4, .block_order = true});
  check({.heads = 2, .head_dim = 16, .layout = kGrid, .frames = 2, .padding = {.token = 8}});
}

TEST(CudaNormRope, QueriesKeysAndValuesInOneLaunchAndInPlace) {
  const Case q{.heads = 2, .head_dim = 16, .layout = kGrid, .frames = 2};
  Case k = q;
  k.block_order = true;
  Case v = k;
  v.weighted = v.turned = false;
  Problem one(q, 1);
  Problem two(k, 11);
  Problem three(v, 21);
  one.pass.out = one.x.view();
  emulate(cuda::norm_rope_args(std::vector{one.pass, two.pass, three.pass}, kEps), q.dtype);
  one.out = one.x;
  expect_right(q, one);
  expect_right(k, two);
  expect_right(v, three);
}

TEST(CudaNormRope, NamesWhatItCannotDo) {
  Tensor x({1, 2, 2, 8}, DType::kBF16);
  Tensor wide({1, 2, 2, 8}, DType::kF32);
  Tensor gaps({1, 2, 2, 8}, DType::kBF16, {.head = 8});
  const auto error = [](std::vector<TokenPass> passes) {
    return message_of([&] { cuda::norm_rope_args(passes, kEps); });
  };
  const TokenPass good{.x = read_only(x.view()), .out = x.view()};
  EXPECT_EQ(error({}), "[monarch_attention] there are 0 passes; one launch takes 1 to 3");
  TokenPass bad = good;
  bad.out = wide.view();
  EXPECT_EQ(error({bad}),
            "[monarch_attention] out has dtype F32; the CUDA kernels take BF16 or F16");
  bad.out = gaps.view();
  EXPECT_EQ(error({bad}),
            "[monarch_attention] out has strides [64, 32, 16, 1]; the heads of a token must follow "
            "one another, 8 elements apart");
  bad = good;
  bad.order = kGrid;
  EXPECT_EQ(error({bad}),
            "[monarch_attention] 2 tokens do not fill groups of f_tied * height * width = 48");
  Tensor many({1, 1, 769, 8}, DType::kBF16);
  EXPECT_EQ(
      error({{.x = read_only(many.view()), .out = many.view()}}),
      "[monarch_attention] the norm on a GPU takes up to 6144 channels in heads of a multiple "
      "of 8; got 769 heads of 8");
}

}  // namespace
}  // namespace monarch::attention::test
