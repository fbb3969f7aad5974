#include "monarch/evaluation/shapes_segmentation.h"

#include <algorithm>
#include <cmath>

namespace monarch::evaluation {
namespace {

constexpr double kForeground = 70.0;  // distance from the background in RGB
constexpr std::size_t kMinPixels = 24;
constexpr std::size_t kMaxRegions = 4;
constexpr int kMargin = 2;

double distance_to(const std::uint8_t* pixel, const Rgb& color) {
  double sum = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    const double difference = double(pixel[c]) - double(color[c]);
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

// Pixel indices of the 4-connected patch around `seed`; clears them in `open`.
std::vector<int> flood(std::vector<bool>& open, int seed, int height, int width) {
  std::vector<int> patch{seed};
  open[static_cast<std::size_t>(seed)] = false;
  const auto visit = [&](int index) {
    if (!open[static_cast<std::size_t>(index)]) return;
    open[static_cast<std::size_t>(index)] = false;
    patch.push_back(index);
  };
  for (std::size_t i = 0; i < patch.size(); ++i) {
    const int x = patch[i] % width;
    const int y = patch[i] / width;
    if (x > 0) visit(patch[i] - 1);
    if (x + 1 < width) visit(patch[i] + 1);
    if (y > 0) visit(patch[i] - width);
    if (y + 1 < height) visit(patch[i] + width);
  }
  return patch;
}

// Mean colour of the half of the patch that differs most from the background: without the blended
// edge.
std::array<double, 3> inner_color(std::span<const std::uint8_t> frame,
                                  const std::vector<int>& patch, const Rgb& background) {
  std::vector<double> distances;
  for (const int index : patch)
    distances.push_back(distance_to(&frame[3 * static_cast<std::size_t>(index)], background));
  std::vector<double> sorted = distances;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double threshold = 0.85 * *middle;
  std::array<double, 3> sum{};
  double count = 0;
  for (std::size_t i = 0; i < patch.size(); ++i) {
    if (distances[i] < threshold) continue;
    for (std::size_t c = 0; c < 3; ++c) sum[c] += frame[3 * static_cast<std::size_t>(patch[i]) + c];
    ++count;
  }
  for (double& value : sum) value /= count;
  return sum;
}

ShapeRegion measure(std::span<const std::uint8_t> frame, const std::vector<int>& patch, int height,
                    int width, const Rgb& background) {
  ShapeRegion region;
  int left = width, right = 0, top = height, bottom = 0;
  for (const int index : patch) {
    left = std::min(left, index % width);
    right = std::max(right, index % width);
    top = std::min(top, index / width);
    bottom = std::max(bottom, index / width);
  }
  region.left = std::max(0, left - kMargin);
  region.top = std::max(0, top - kMargin);
  region.width = std::min(width, right + 1 + kMargin) - region.left;
  region.height = std::min(height, bottom + 1 + kMargin) - region.top;
  region.color = inner_color(frame, patch, background);
  double length = 0;
  for (std::size_t c = 0; c < 3; ++c) length += std::pow(region.color[c] - background[c], 2);
  region.cover.resize(static_cast<std::size_t>(region.width * region.height));
  for (int y = 0; y < region.height; ++y) {
    for (int x = 0; x < region.width; ++x) {
      const std::uint8_t* pixel =
          &frame[3 * static_cast<std::size_t>((region.top + y) * width + region.left + x)];
      double along = 0;
      for (std::size_t c = 0; c < 3; ++c)
        along += (pixel[c] - double(background[c])) * (region.color[c] - background[c]);
      double cover = std::clamp(along / length, 0.0, 1.0);
      if (cover < 0.15) cover = 0;  // noise of the background
      region.cover[static_cast<std::size_t>(y * region.width + x)] = static_cast<float>(cover);
      region.area += cover;
      region.center_x += cover * (region.left + x + 0.5);
      region.center_y += cover * (region.top + y + 0.5);
    }
  }
  region.center_x /= region.area;
  region.center_y /= region.area;
  return region;
}

}  // namespace

Rgb background_color(std::span<const std::uint8_t> pixels, int frames, int height, int width) {
  Rgb median{};
  for (std::size_t c = 0; c < 3; ++c) {
    std::vector<std::uint8_t> values;
    for (int t = 0; t < frames; ++t) {
      for (int y = 0; y < height; ++y) {
        const bool edge = y == 0 || y == height - 1;
        for (int x = 0; x < width; x += edge ? 1 : std::max(1, width - 1)) {
          values.push_back(pixels[3 * static_cast<std::size_t>((t * height + y) * width + x) + c]);
        }
      }
    }
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    median[c] = *middle;
  }
  return median;
}

std::vector<ShapeRegion> find_regions(std::span<const std::uint8_t> frame, int height, int width,
                                      const Rgb& background) {
  std::vector<bool> open(static_cast<std::size_t>(height * width));
  for (std::size_t i = 0; i < open.size(); ++i)
    open[i] = distance_to(&frame[3 * i], background) > kForeground;
  std::vector<std::vector<int>> patches;
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (!open[i]) continue;
    auto patch = flood(open, static_cast<int>(i), height, width);
    if (patch.size() >= kMinPixels) patches.push_back(std::move(patch));
  }
  std::stable_sort(patches.begin(), patches.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  if (patches.size() > kMaxRegions) patches.resize(kMaxRegions);
  std::vector<ShapeRegion> regions;
  for (const auto& patch : patches)
    regions.push_back(measure(frame, patch, height, width, background));
  return regions;
}

}  // namespace monarch::evaluation
