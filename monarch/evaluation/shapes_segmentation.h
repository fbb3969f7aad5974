// Shapes apart from a plain background, frame by frame.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "monarch/evaluation/shapes.h"

namespace monarch::evaluation {

// One connected patch of foreground in one frame.
struct ShapeRegion {
  int left = 0, top = 0, width = 0, height = 0;  // box, with a margin
  double center_x = 0, center_y = 0;             // of mass
  double area = 0;                // pixels, edges counted by how much they are covered
  std::array<double, 3> color{};  // mean inside, edges left out
  std::vector<float> cover;       // [height, width], 0 to 1
};

// Median of the outermost pixels of all frames. pixels [frames, height, width, 3]
Rgb background_color(std::span<const std::uint8_t> pixels, int frames, int height, int width);

// The patches of one frame [height, width, 3] that differ clearly from the background, the largest
// first, crumbs left out, at most four.
std::vector<ShapeRegion> find_regions(std::span<const std::uint8_t> frame, int height, int width,
                                      const Rgb& background);

}  // namespace monarch::evaluation
