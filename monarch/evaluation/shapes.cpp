#include "monarch/evaluation/shapes.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace monarch::evaluation {
namespace {

struct Point {
  float x, y;
};

// Half the side of a square that looks as large as the unit circle.
constexpr float kSquareHalf = 0.88F;

// Unit outlines as constants rather than from sin and cos, so that every machine draws the same
// bits.
constexpr std::array<Point, 3> kTriangle{{{0.0F, -1.2F}, {1.08F, 0.68F}, {-1.08F, 0.68F}}};
constexpr std::array<Point, 10> kStar{{{0.0F, -1.25F},
                                       {0.30857F, -0.42472F},
                                       {1.18882F, -0.38627F},
                                       {0.49929F, 0.16223F},
                                       {0.73473F, 1.01127F},
                                       {0.0F, 0.525F},
                                       {-0.73473F, 1.01127F},
                                       {-0.49929F, 0.16223F},
                                       {-1.18882F, -0.38627F},
                                       {-0.30857F, -0.42472F}}};

float polygon_distance(std::span<const Point> outline, float x, float y) {
  float nearest = 1e30F;
  bool inside = false;
  for (std::size_t i = 0, j = outline.size() - 1; i < outline.size(); j = i++) {
    const Point a = outline[j];
    const Point b = outline[i];
    const float edge_x = b.x - a.x;
    const float edge_y = b.y - a.y;
    const float along =
        ((x - a.x) * edge_x + (y - a.y) * edge_y) / (edge_x * edge_x + edge_y * edge_y);
    const float clamped = std::clamp(along, 0.0F, 1.0F);
    const float dx = x - a.x - clamped * edge_x;
    const float dy = y - a.y - clamped * edge_y;
    nearest = std::min(nearest, dx * dx + dy * dy);
    // Even-odd rule: count the edges that a ray to the right crosses.
    if ((a.y > y) != (b.y > y) && x < a.x + (y - a.y) / edge_y * edge_x) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

float polygon_area(std::span<const Point> outline) {
  float twice = 0.0F;
  for (std::size_t i = 0, j = outline.size() - 1; i < outline.size(); j = i++) {
    twice += outline[j].x * outline[i].y - outline[i].x * outline[j].y;
  }
  return std::abs(twice) / 2;
}

}  // namespace

std::string_view color_name(ShapeColor color) {
  constexpr std::array<std::string_view, kNumColors> names{"red",  "green",   "blue",   "yellow",
                                                           "cyan", "magenta", "orange", "white"};
  return names[static_cast<std::size_t>(color)];
}

std::string_view kind_name(ShapeKind kind) {
  constexpr std::array<std::string_view, kNumKinds> names{"circle", "square", "triangle", "star"};
  return names[static_cast<std::size_t>(kind)];
}

std::string_view motion_name(ShapeMotion motion) {
  constexpr std::array<std::string_view, kNumMotions> names{
      "left", "right", "up", "down", "bouncing", "growing", "shrinking", "still"};
  return names[static_cast<std::size_t>(motion)];
}

Rgb color_rgb(ShapeColor color) {
  constexpr std::array<Rgb, kNumColors> palette{{{230, 30, 30},
                                                 {30, 180, 50},
                                                 {40, 70, 240},
                                                 {250, 230, 20},
                                                 {20, 210, 230},
                                                 {230, 30, 200},
                                                 {255, 140, 0},
                                                 {245, 245, 245}}};
  return palette[static_cast<std::size_t>(color)];
}

float shape_distance(ShapeKind kind, float x, float y, float radius) {
  switch (kind) {
    case ShapeKind::kCircle: return std::sqrt(x * x + y * y) - radius;
    case ShapeKind::kSquare: {
      const float dx = std::abs(x) - kSquareHalf * radius;
      const float dy = std::abs(y) - kSquareHalf * radius;
      const float out_x = std::max(dx, 0.0F);
      const float out_y = std::max(dy, 0.0F);
      return std::sqrt(out_x * out_x + out_y * out_y) + std::min(std::max(dx, dy), 0.0F);
    }
    case ShapeKind::kTriangle: return radius * polygon_distance(kTriangle, x / radius, y / radius);
    case ShapeKind::kStar: return radius * polygon_distance(kStar, x / radius, y / radius);
  }
  return 0.0F;
}

float shape_area_factor(ShapeKind kind) {
  switch (kind) {
    case ShapeKind::kCircle: return 3.14159265F;
    case ShapeKind::kSquare: return 4 * kSquareHalf * kSquareHalf;
    case ShapeKind::kTriangle: return polygon_area(kTriangle);
    case ShapeKind::kStar: return polygon_area(kStar);
  }
  return 0.0F;
}

float shape_center_y(ShapeKind kind) {
  return kind == ShapeKind::kTriangle ? (kTriangle[0].y + kTriangle[1].y + kTriangle[2].y) / 3
                                      : 0.0F;
}

}  // namespace monarch::evaluation
