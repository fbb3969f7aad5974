// Reads from pixels what a shapes video shows: colour, kind and motion of each shape. It knows
// nothing of the caption or of the model, so it can judge generated videos.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "monarch/evaluation/shapes.h"

namespace monarch::evaluation {

struct ShapeObservation {
  ShapeColor color{};
  std::optional<ShapeKind> kind;  // none: the outline resembles no known shape
  ShapeMotion motion{};
  double overlap = 0;   // of the outline with the best template, intersection over union
  double presence = 0;  // part of the frames in which the shape was seen
  double center_x = 0, center_y = 0;  // mean position, pixels
  double area = 0;                    // mean, pixels
};

struct ShapesAnalysis {
  Rgb background{};
  std::vector<ShapeObservation> shapes;  // at most `max_shapes`, the one with the most pixels first
};

// pixels [frames, height, width, 3]. Shapes seen in less than half of the frames are left out.
// Throws if the number of bytes does not fit the sizes.
ShapesAnalysis analyse_shapes(std::span<const std::uint8_t> pixels, int frames, int height,
                              int width, std::size_t max_shapes = 2);

// What a caption promises of one shape, and how much of it the video keeps.
struct ShapeClaim {
  ShapeColor color{};
  ShapeKind kind{};
  ShapeMotion motion{};
};
struct ShapeScore {
  bool color = false, kind = false, motion = false;
};

// Pairs observations with claims so that most attributes agree; a claim without a shape has all
// wrong.
std::vector<ShapeScore> score_claims(std::span<const ShapeClaim> claims,
                                     const ShapesAnalysis& analysis);

}  // namespace monarch::evaluation
