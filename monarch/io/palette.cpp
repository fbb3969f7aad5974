#include "monarch/io/palette.h"

#include <algorithm>

namespace monarch::io {
namespace {

constexpr int kLevels = 32;
constexpr int kShift = 3;

struct Cell {
  std::array<int, 3> level{};
  std::array<std::uint64_t, 3> sum{};  // of the 8-bit values
  std::uint64_t count = 0;
};

// A run of cells that will share one colour.
struct Box {
  std::size_t begin = 0, end = 0;
  int axis = 0;              // the widest
  std::uint64_t weight = 0;  // pixels times width of that axis
};

int cell_index(const std::uint8_t* rgb) {
  return ((rgb[0] >> kShift) * kLevels + (rgb[1] >> kShift)) * kLevels + (rgb[2] >> kShift);
}

Box measure(const std::vector<Cell>& cells, std::size_t begin, std::size_t end) {
  Box box{begin, end, 0, 0};
  std::uint64_t pixels = 0;
  std::array<int, 3> low{kLevels, kLevels, kLevels}, high{};
  for (std::size_t i = begin; i < end; ++i) {
    pixels += cells[i].count;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      low[axis] = std::min(low[axis], cells[i].level[axis]);
      high[axis] = std::max(high[axis], cells[i].level[axis]);
    }
  }
  int widest = 0;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (high[axis] - low[axis] > widest) {
      widest = high[axis] - low[axis];
      box.axis = static_cast<int>(axis);
    }
  }
  box.weight = pixels * static_cast<std::uint64_t>(widest);
  return box;
}

// The end of the first half of a sorted box: half of its pixels, at least one cell on each side.
std::size_t median(const std::vector<Cell>& cells, const Box& box) {
  std::uint64_t pixels = 0, half = 0;
  for (std::size_t i = box.begin; i < box.end; ++i) pixels += cells[i].count;
  std::size_t at = box.begin;
  while (at + 2 < box.end && half + cells[at].count <= pixels / 2) half += cells[at++].count;
  return at + 1;
}

}  // namespace

PaletteImage quantize(std::span<const std::uint8_t> rgb) {
  std::vector<Cell> all(static_cast<std::size_t>(kLevels) * kLevels * kLevels);
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    Cell& cell = all[static_cast<std::size_t>(cell_index(&rgb[i]))];
    for (std::size_t axis = 0; axis < 3; ++axis) {
      cell.level[axis] = rgb[i + axis] >> kShift;
      cell.sum[axis] += rgb[i + axis];
    }
    ++cell.count;
  }
  std::vector<Cell> cells;
  std::copy_if(all.begin(), all.end(), std::back_inserter(cells),
               [](const Cell& cell) { return cell.count > 0; });

  std::vector<Box> boxes = {measure(cells, 0, cells.size())};
  PaletteImage image;
  while (boxes.size() < image.colors.size()) {
    const auto largest = std::max_element(
        boxes.begin(), boxes.end(), [](const Box& a, const Box& b) { return a.weight < b.weight; });
    if (largest->weight == 0) break;  // every box is one cell
    const Box box = *largest;
    const auto axis = static_cast<std::size_t>(box.axis);
    std::sort(
        cells.begin() + static_cast<std::ptrdiff_t>(box.begin),
        cells.begin() + static_cast<std::ptrdiff_t>(box.end), [&](const Cell& a, const Cell& b) {
          return a.level[axis] != b.level[axis] ? a.level[axis] < b.level[axis] : a.level < b.level;
        });
    const std::size_t middle = median(cells, box);
    *largest = measure(cells, box.begin, middle);
    boxes.push_back(measure(cells, middle, box.end));
  }

  std::vector<std::uint8_t> color_of(all.size());
  for (std::size_t b = 0; b < boxes.size(); ++b) {
    std::array<std::uint64_t, 3> sum{};
    std::uint64_t count = 0;
    for (std::size_t i = boxes[b].begin; i < boxes[b].end; ++i) {
      const auto& level = cells[i].level;
      const int index = (level[0] * kLevels + level[1]) * kLevels + level[2];
      color_of[static_cast<std::size_t>(index)] = static_cast<std::uint8_t>(b);
      for (std::size_t axis = 0; axis < 3; ++axis) sum[axis] += cells[i].sum[axis];
      count += cells[i].count;
    }
    if (count == 0) continue;
    std::uint32_t color = 0xFF;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      color = color << 8 | static_cast<std::uint32_t>((sum[axis] + count / 2) / count);
    }
    image.colors[b] = color;
  }
  image.indices.reserve(rgb.size() / 3);
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    image.indices.push_back(color_of[static_cast<std::size_t>(cell_index(&rgb[i]))]);
  }
  return image;
}

}  // namespace monarch::io
