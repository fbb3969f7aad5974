#include "monarch/evaluation/map_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "monarch/io/image.h"

namespace monarch::evaluation {
namespace {

constexpr int kLevels = 24;  // of brightness; few, so that pictures are small files

// Black, violet, orange, pale yellow.
constexpr std::array<std::array<double, 3>, 4> kStops = {
    {{0, 0, 4}, {120, 28, 109}, {237, 105, 37}, {252, 255, 164}}};

std::array<std::uint8_t, std::size_t{3 * kLevels}> palette() {
  std::array<std::uint8_t, std::size_t{3 * kLevels}> colors{};
  for (std::size_t level = 0; level < kLevels; ++level) {
    const double position = 3.0 * static_cast<double>(level) / (kLevels - 1);
    const std::size_t below = std::min<std::size_t>(2, static_cast<std::size_t>(position));
    for (std::size_t c = 0; c < 3; ++c)
      colors[3 * level + c] = static_cast<std::uint8_t>(std::lround(std::lerp(
          kStops[below][c], kStops[below + 1][c], position - static_cast<double>(below))));
  }
  return colors;
}

// weights: [side, side]
std::string encode(const at::Tensor& weights, double peak) {
  const at::Tensor level = weights.to(at::kFloat).div(peak).clamp(0, 1).sqrt();
  const at::Tensor index = level.mul(kLevels - 1).round().to(at::kByte).contiguous();
  return io::encode_palette_png(
      weights.size(1), weights.size(0), palette(),
      {index.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(index.numel())});
}

}  // namespace

MapPainter::MapPainter(AttentionHead head) : head_(std::move(head)) {
  constexpr std::int64_t kSide = 256;
  const std::int64_t frame = head_.grid.frame_tokens();
  begin_ = head_.grid.frames / 2 * frame;
  side_ = std::min(kSide, frame);
  dense_ = crop({.rows = [&](const at::Tensor& queries) { return dense_rows(head_, queries); }});
  const std::int64_t few = std::max<std::int64_t>(1, dense_.numel() / 200);
  peak_ = std::max(1e-12, std::get<0>(dense_.flatten().topk(few)).min().item<double>());
}

at::Tensor MapPainter::crop(const MapApproximation& approximation) const {
  const at::Tensor queries = at::arange(begin_, begin_ + side_, at::kLong);
  return approximation.rows(queries).narrow(1, begin_, side_).contiguous();
}

std::string MapPainter::dense() const { return encode(dense_, peak_); }

std::string MapPainter::paint(const AttentionMethod& method) const {
  return encode(crop(method.approximate(head_)), peak_);
}

}  // namespace monarch::evaluation
