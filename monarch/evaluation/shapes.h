// The vocabulary of the shapes world: what the synthetic videos can show, shared by the generator
// and the analyser.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace monarch::evaluation {

enum class ShapeColor : std::uint8_t {
  kRed,
  kGreen,
  kBlue,
  kYellow,
  kCyan,
  kMagenta,
  kOrange,
  kWhite
};
enum class ShapeKind : std::uint8_t { kCircle, kSquare, kTriangle, kStar };
enum class ShapeMotion : std::uint8_t {
  kLeft,
  kRight,
  kUp,
  kDown,
  kBouncing,
  kGrowing,
  kShrinking,
  kStill
};

inline constexpr int kNumColors = 8;
inline constexpr int kNumKinds = 4;
inline constexpr int kNumMotions = 8;

using Rgb = std::array<std::uint8_t, 3>;

std::string_view color_name(ShapeColor color);     // "red", ...
std::string_view kind_name(ShapeKind kind);        // "circle", ...
std::string_view motion_name(ShapeMotion motion);  // "left", ..., "still"
Rgb color_rgb(ShapeColor color);                   // as drawn

// Signed distance in pixels from the point (x, y), relative to the centre, to the outline of an
// upright shape (y points down): negative inside. `radius` is the circle's; the others are scaled
// to look as large.
float shape_distance(ShapeKind kind, float x, float y, float radius);

// Area in pixels divided by radius squared.
float shape_area_factor(ShapeKind kind);

// How far below the centre the centre of mass lies, in radii.
float shape_center_y(ShapeKind kind);

}  // namespace monarch::evaluation
