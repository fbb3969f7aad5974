#include "monarch/evaluation/quality.h"

#include <cmath>
#include <limits>

#include "monarch/base/error.h"

namespace monarch::evaluation {
namespace {

constexpr std::int64_t kWindow = 11;
constexpr double kSigma = 1.5;

// [n - 10, n]: row i averages the window that begins at i. Products with such bands are several
// times as fast as convolutions in double.
at::Tensor gaussian_band(std::int64_t n) {
  const at::Tensor x = at::arange(n, at::kDouble).unsqueeze(0) -
                       at::arange(n - kWindow + 1, at::kDouble).unsqueeze(1) - kWindow / 2;
  const at::Tensor weights =
      (x * x / (-2 * kSigma * kSigma)).exp().masked_fill(x.abs().gt(kWindow / 2), 0);
  return weights / weights.sum(1, /*keepdim=*/true);
}

void check_same_shape(const at::Tensor& got, const at::Tensor& want) {
  MONARCH_CHECK(got.sizes() == want.sizes(), "[monarch_evaluation] values of shape ",
                shape_string(got.sizes()), " cannot be compared with ", shape_string(want.sizes()));
}

}  // namespace

double relative_error(const at::Tensor& got, const at::Tensor& want) {
  check_same_shape(got, want);
  const at::Tensor exact = want.to(at::kDouble);
  const double error = (got.to(at::kDouble) - exact).norm().item<double>();
  return error == 0 ? 0 : error / exact.norm().item<double>();
}

double psnr(const at::Tensor& got, const at::Tensor& want) {
  check_same_shape(got, want);
  const double error = (got.to(at::kDouble) - want.to(at::kDouble)).square().mean().item<double>();
  return error > 0 ? -10 * std::log10(error) : std::numeric_limits<double>::infinity();
}

double ssim(const at::Tensor& got, const at::Tensor& want) {
  check_same_shape(got, want);
  MONARCH_CHECK(got.dim() == 4 && got.size(2) >= kWindow && got.size(3) >= kWindow,
                "[monarch_evaluation] SSIM takes frames [T, C, H, W] of at least ", kWindow, "x",
                kWindow, " pixels; got ", shape_string(got.sizes()));
  constexpr double kC1 = 0.01 * 0.01, kC2 = 0.03 * 0.03;
  const at::Tensor vertical = gaussian_band(got.size(2));
  const at::Tensor horizontal = gaussian_band(got.size(3)).t();
  const auto mean = [&](const at::Tensor& x) {
    return at::matmul(vertical, at::matmul(x, horizontal));
  };
  const at::Tensor a = got.to(at::kDouble).flatten(0, 1);  // [T*C, H, W]
  const at::Tensor b = want.to(at::kDouble).flatten(0, 1);
  const at::Tensor mean_a = mean(a), mean_b = mean(b);
  const at::Tensor variance_a = mean(a * a) - mean_a * mean_a;
  const at::Tensor variance_b = mean(b * b) - mean_b * mean_b;
  const at::Tensor covariance = mean(a * b) - mean_a * mean_b;
  return ((2 * mean_a * mean_b + kC1) * (2 * covariance + kC2) /
          ((mean_a * mean_a + mean_b * mean_b + kC1) * (variance_a + variance_b + kC2)))
      .mean()
      .item<double>();
}

AttentionTruth::AttentionTruth(AttentionHead head, std::int64_t max_queries)
    : head_(std::move(head)) {
  head_.validate();
  queries_ = spread_queries(head_.tokens(), max_queries);
  rows_ = dense_rows(head_, queries_);
  output_ = at::matmul(rows_, head_.v);
}

AttentionErrors AttentionTruth::measure(const AttentionMethod& method) const {
  const MapApproximation approximation = method.approximate(head_);
  const at::Tensor rows = approximation.rows(queries_);
  const at::Tensor output = at::matmul(rows, head_.v);
  const at::Tensor squared = (output - output_).to(at::kDouble).square().sum(1);
  const double total = squared.sum().item<double>();
  const at::Tensor first = squared.masked_select(queries_.lt(head_.grid.frame_tokens()));
  return {.map = relative_error(rows, rows_),
          .misplaced = 0.5 * (rows - rows_).abs().sum(1).mean().item<double>(),
          .output = relative_error(output, output_),
          .sparsity = approximation.sparsity,
          .first_frame = total > 0 ? first.sum().item<double>() / total : 0};
}

}  // namespace monarch::evaluation
