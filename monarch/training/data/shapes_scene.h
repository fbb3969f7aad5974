// Synthetic videos of one or two coloured shapes that move over a plain background, and their
// ground truth.
//
// Everything is a pure function of a seed. Whole combinations of colour, shape and motion are held
// out by a hash: training scenes never show one, held-out scenes show nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "monarch/evaluation/shapes.h"
#include "monarch/training/data/shapes_rng.h"

namespace monarch::training {

using evaluation::Rgb;
using evaluation::ShapeColor;
using evaluation::ShapeKind;
using evaluation::ShapeMotion;

enum class ShapeSize : std::uint8_t { kSmall, kMedium, kLarge };
enum class ShapesBackground : std::uint8_t { kBlack, kGray, kWhite };
enum class ShapesSplit : std::uint8_t { kTrain, kHeldOut };

// One shape and its path; positions and lengths in pixels, y pointing down.
struct ShapeObject {
  ShapeColor color{};
  ShapeKind kind{};
  ShapeMotion motion{};
  ShapeSize size = ShapeSize::kMedium;
  float start_x = 0, start_y = 0;          // centre in the first frame
  float travel_x = 0, travel_y = 0;        // centre in the last frame minus that
  float start_radius = 0, end_radius = 0;  // changes linearly
  float bounce_height = 0, bounces = 0;
};

struct ShapesScene {
  std::vector<ShapeObject> objects;  // one or two, in the order of the caption
  ShapesBackground background = ShapesBackground::kBlack;
};

struct ShapesOptions {
  int width = 256;
  int height = 160;
  int frames = 21;
  float two_shapes = 0.25F;  // probability
  ShapesSplit split = ShapesSplit::kTrain;
};

bool is_held_out(ShapeColor color, ShapeKind kind, ShapeMotion motion);

// Draws a scene; throws if the frame is too small for a shape (less than 32 pixels a side) or has
// no frame.
ShapesScene sample_scene(const ShapesOptions& options, ShapesRng& rng);

Rgb background_rgb(ShapesBackground background);

// Pixels [frames, height, width, 3], anti-aliased.
std::vector<std::uint8_t> render_scene(const ShapesScene& scene, int width, int height, int frames);

// Of those, `count` frames from `first` on: [count, height, width, 3].
std::vector<std::uint8_t> render_frames(const ShapesScene& scene, int width, int height, int frames,
                                        int first, int count);

// What covers the centre of each cell of 8 x 8 pixels, those that a latent stands for: 1 + its
// ShapeKind, 0 for the background; [height / 8, width / 8]. `progress` is 0 in the first frame and
// 1 in the last.
std::vector<std::uint8_t> covering_kinds(const ShapesScene& scene, int width, int height,
                                         float progress);

}  // namespace monarch::training
