#include "monarch/evaluation/quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/evaluation/model_attention.h"

namespace monarch::evaluation {
namespace {

at::Tensor frames(std::uint64_t seed) {
  at::manual_seed(seed);
  return at::rand({2, 3, 16, 20});
}

TEST(Quality, EqualFramesArePerfect) {
  const at::Tensor x = frames(1);
  EXPECT_TRUE(std::isinf(psnr(x, x)));
  EXPECT_NEAR(ssim(x, x), 1, 1e-12);
  EXPECT_EQ(relative_error(x, x), 0);
}

TEST(Quality, PsnrOfAShift) {
  const at::Tensor x = frames(2).to(at::kDouble);
  EXPECT_NEAR(psnr(x + 0.1, x), 20, 1e-9);
  EXPECT_NEAR(psnr(x + 0.01, x), 40, 1e-9);
}

TEST(Quality, SsimOfFlatFramesIsTheLuminanceTerm) {
  const double a = 0.25, b = 0.5, c1 = 1e-4;
  EXPECT_NEAR(ssim(at::full({1, 1, 11, 11}, a), at::full({1, 1, 11, 11}, b)),
              (2 * a * b + c1) / (a * a + b * b + c1), 1e-6);
}

// The formula once more, as loops over one window.
TEST(Quality, SsimOfOneWindow) {
  at::manual_seed(3);
  const at::Tensor a = at::rand({1, 1, 11, 11}, at::kDouble),
                   b = at::rand({1, 1, 11, 11}, at::kDouble);
  double weight = 0, ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
  for (int y = 0; y < 11; ++y) {
    for (int x = 0; x < 11; ++x) {
      const double w = std::exp(-((y - 5) * (y - 5) + (x - 5) * (x - 5)) / (2 * 1.5 * 1.5));
      const double va = a[0][0][y][x].item<double>(), vb = b[0][0][y][x].item<double>();
      weight += w;
      ma += w * va, mb += w * vb, aa += w * va * va, bb += w * vb * vb, ab += w * va * vb;
    }
  }
  ma /= weight, mb /= weight;
  const double var_a = aa / weight - ma * ma, var_b = bb / weight - mb * mb;
  const double covariance = ab / weight - ma * mb;
  const double want = (2 * ma * mb + 1e-4) * (2 * covariance + 9e-4) /
                      ((ma * ma + mb * mb + 1e-4) * (var_a + var_b + 9e-4));
  EXPECT_NEAR(ssim(a, b), want, 1e-12);
}

TEST(Quality, SizesMustAgree) {
  EXPECT_THROW(psnr(at::zeros({3}), at::zeros({4})), Error);
  EXPECT_THROW(ssim(at::zeros({1, 1, 10, 20}), at::zeros({1, 1, 10, 20})), Error);
}

TEST(Quality, MisplacedWeightOfSwappedKeysIsAll) {
  // Every query looks at its own token; the method sends all to token 0.
  const AttentionHead head{
      .q = at::eye(6), .k = at::eye(6), .v = at::eye(6), .grid = {1, 2, 3}, .scale = 60};
  const AttentionMethod method{
      .family = "test", .name = "first token", .approximate = [](const AttentionHead& given) {
        return MapApproximation{
            .rows =
                [n = given.tokens()](const at::Tensor& queries) {
                  return at::eye(n).narrow(0, 0, 1).expand({queries.size(0), n});
                },
            .sparsity = 0.5};
      }};
  const AttentionErrors errors = AttentionTruth(head, 100).measure(method);
  EXPECT_NEAR(errors.misplaced, 5.0 / 6, 1e-6);
  EXPECT_NEAR(errors.map, std::sqrt(10.0 / 6), 1e-6);
  EXPECT_NEAR(errors.output, std::sqrt(10.0 / 6), 1e-6);
  EXPECT_EQ(errors.sparsity, 0.5);
}

TEST(HeadsOf, TakesBatchesAndRefusesOtherGrids) {
  constexpr ops::Grid kGrid{.frames = 4, .height = 6, .width = 8};
  const at::Tensor t = at::randn({2, kGrid.tokens(), 3, 8});
  EXPECT_EQ(heads_of(t, t, t, kGrid).size(), 6U);
  EXPECT_EQ(heads_of(t[0], t[0], t[0], kGrid).size(), 3U);
  try {
    heads_of(t, t, t, {.frames = 4, .height = 6, .width = 7});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "[monarch_evaluation] q of a head has shape [192, 8]; [168, head_dim] was expected "
        "for a grid of 4x6x7 (frames, rows, columns)");
  }
}

}  // namespace
}  // namespace monarch::evaluation
