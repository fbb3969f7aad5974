#include "monarch/training/data/shapes_scene.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

// Where one object may go.
struct Region {
  float left, top, width, height;
};

bool is_horizontal(ShapeMotion motion) {
  return motion == ShapeMotion::kLeft || motion == ShapeMotion::kRight;
}
bool is_vertical(ShapeMotion motion) {
  return motion == ShapeMotion::kUp || motion == ShapeMotion::kDown ||
         motion == ShapeMotion::kBouncing;
}

// Starts lie on a lattice of as many pixels as the VAE's latents have, and shapes move by whole
// steps of it from latent frame to latent frame (four frames) where there is room: a shape's
// latents are then the same wherever it stands, and a small denoiser learns them in an hour.
constexpr int kCell = 8;
constexpr float kLattice = kCell;

float on_lattice(float low, float high, ShapesRng& rng) {
  const int first = static_cast<int>(std::ceil(low / kLattice));
  const int last = static_cast<int>(std::floor(high / kLattice));
  if (last < first) return 0.5F * (low + high);
  return kLattice * static_cast<float>(first + rng.index(last - first + 1));
}

// A start and a travel such that [start, start + travel] keeps `margin` from both ends of [low, low
// + extent], at one of the two highest speeds that fit.
void place_travel(float low, float extent, float margin, float sign, int frames, ShapesRng& rng,
                  float& start, float& travel) {
  const float room = std::max(extent - 2 * margin, 0.0F);
  const float steps = static_cast<float>(std::max(frames - 1, 1));
  const float fastest = 2.0F * std::floor(room / (2.0F * steps));
  const float speed = fastest >= 4  ? fastest - (rng.chance(0.5F) ? 2.0F : 0.0F)
                      : fastest > 0 ? fastest
                                    : std::min(1.0F, room / steps);
  travel = sign * speed * steps;
  const float slack = room - speed * steps;
  start = sign > 0 ? on_lattice(low + margin, low + margin + slack, rng)
                   : on_lattice(low + margin + speed * steps, low + margin + room, rng);
}

// A resting place in the middle half of the room.
float place_still(float low, float extent, float margin, ShapesRng& rng) {
  const float room = std::max(extent - 2 * margin, 0.0F);
  return on_lattice(low + margin + 0.25F * room, low + margin + 0.75F * room, rng);
}

float radius_of(ShapeSize size) {
  switch (size) {
    case ShapeSize::kSmall: return 16.0F;  // through the VAE a smaller star is a pentagon
    case ShapeSize::kMedium: return 20.0F;
    case ShapeSize::kLarge: return 28.0F;
  }
  return 0.0F;
}

ShapeObject draw_attributes(ShapesSplit split, ShapesBackground background, ShapesRng& rng) {
  ShapeObject object;
  do {
    object.color = static_cast<ShapeColor>(rng.index(evaluation::kNumColors));
    object.kind = static_cast<ShapeKind>(rng.index(evaluation::kNumKinds));
    object.motion = static_cast<ShapeMotion>(rng.index(evaluation::kNumMotions));
  } while (is_held_out(object.color, object.kind, object.motion) !=
               (split == ShapesSplit::kHeldOut) ||
           (object.color == ShapeColor::kWhite && background == ShapesBackground::kWhite));
  if (rng.chance(0.3F)) object.size = rng.chance(0.5F) ? ShapeSize::kSmall : ShapeSize::kLarge;
  return object;
}

void draw_path(ShapeObject& object, const Region& region, int frames, ShapesRng& rng) {
  // The outline reaches 1.25 radii from the centre (the star's tip).
  const float largest = 0.3F * std::min(region.width, region.height);
  const float radius = std::min(radius_of(object.size), largest);
  object.start_radius = object.end_radius = radius;
  if (object.motion == ShapeMotion::kGrowing || object.motion == ShapeMotion::kShrinking) {
    constexpr float kRatio = 2.6F;
    const float big = std::min(radius * 1.35F, largest);
    object.start_radius = object.motion == ShapeMotion::kGrowing ? big / kRatio : big;
    object.end_radius = object.motion == ShapeMotion::kGrowing ? big : big / kRatio;
  }
  const float margin = 1.25F * std::max(object.start_radius, object.end_radius) + 1.0F;
  object.start_x = place_still(region.left, region.width, margin, rng);
  object.start_y = place_still(region.top, region.height, margin, rng);
  const float sign =
      object.motion == ShapeMotion::kRight || object.motion == ShapeMotion::kDown ? 1.0F : -1.0F;
  if (is_horizontal(object.motion)) {
    place_travel(region.left, region.width, margin, sign, frames, rng, object.start_x,
                 object.travel_x);
  } else if (object.motion == ShapeMotion::kBouncing) {
    const float room = std::max(region.height - 2 * margin, 0.0F);
    object.bounce_height = std::max(kLattice * std::floor(0.8F * room / kLattice), 0.7F * room);
    object.start_y =
        on_lattice(region.top + margin + object.bounce_height, region.top + margin + room, rng);
    object.bounces = 2.0F;
  } else if (is_vertical(object.motion)) {
    place_travel(region.top, region.height, margin, sign, frames, rng, object.start_y,
                 object.travel_y);
  }
}

struct Pose {
  float x, y, radius;
};

Pose pose_at(const ShapeObject& object, float progress) {
  Pose pose{object.start_x + object.travel_x * progress,
            object.start_y + object.travel_y * progress, object.start_radius};
  if (object.bounces > 0) {
    const float cycle = object.bounces * progress + 1.0F;
    const float part = 2 * (cycle - std::floor(cycle)) - 1;  // a parabola from floor to floor
    pose.y -= object.bounce_height * (1 - part * part);
  }
  if (object.end_radius != object.start_radius) {
    // Linear in the radius: a power would need the mathematical library's bits.
    pose.radius += (object.end_radius - object.start_radius) * progress;
  }
  return pose;
}

void draw_shape(const ShapeObject& object, const Pose& pose, int width, int height,
                std::uint8_t* frame) {
  const float reach = 1.3F * pose.radius + 2.0F;
  const int left = std::max(0, static_cast<int>(pose.x - reach));
  const int right = std::min(width, static_cast<int>(pose.x + reach) + 1);
  const int top = std::max(0, static_cast<int>(pose.y - reach));
  const int bottom = std::min(height, static_cast<int>(pose.y + reach) + 1);
  const Rgb color = evaluation::color_rgb(object.color);
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) {
      const float distance =
          evaluation::shape_distance(object.kind, static_cast<float>(x) + 0.5F - pose.x,
                                     static_cast<float>(y) + 0.5F - pose.y, pose.radius);
      const float cover = std::clamp(0.5F - distance, 0.0F, 1.0F);
      if (cover <= 0) continue;
      std::uint8_t* pixel =
          frame + 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                       static_cast<std::size_t>(x));
      for (std::size_t c = 0; c < 3; ++c) {
        const float mixed =
            static_cast<float>(pixel[c]) * (1 - cover) + static_cast<float>(color[c]) * cover;
        pixel[c] = static_cast<std::uint8_t>(mixed + 0.5F);
      }
    }
  }
}

}  // namespace

bool is_held_out(ShapeColor color, ShapeKind kind, ShapeMotion motion) {
  const std::uint64_t combination = (static_cast<std::uint64_t>(color) * evaluation::kNumKinds +
                                     static_cast<std::uint64_t>(kind)) *
                                        evaluation::kNumMotions +
                                    static_cast<std::uint64_t>(motion);
  return mix_seed(0x5eed5a9e5ULL, combination) % 8 == 0;
}

ShapesScene sample_scene(const ShapesOptions& options, ShapesRng& rng) {
  MONARCH_CHECK(options.width >= 32 && options.height >= 32 && options.frames >= 1,
                "[monarch_training] shapes need frames of at least 32x32 pixels and at least one "
                "of them, but got ",
                options.frames, " of ", options.width, "x", options.height);
  ShapesScene scene;
  if (rng.chance(0.4F))
    scene.background = rng.chance(0.5F) ? ShapesBackground::kGray : ShapesBackground::kWhite;
  const int count = rng.chance(options.two_shapes) ? 2 : 1;
  for (int i = 0; i < count; ++i)
    scene.objects.push_back(draw_attributes(options.split, scene.background, rng));
  const auto width = static_cast<float>(options.width);
  const auto height = static_cast<float>(options.height);
  if (count == 1) {
    draw_path(scene.objects[0], {0, 0, width, height}, options.frames, rng);
    return scene;
  }
  // Two shapes have a half of the frame each, the first one left or above, so that they never
  // touch.
  const bool rows =
      is_horizontal(scene.objects[0].motion) || is_horizontal(scene.objects[1].motion);
  const Region first{0, 0, rows ? width : width / 2, rows ? height / 2 : height};
  const Region second{rows ? 0 : width / 2, rows ? height / 2 : 0, first.width, first.height};
  draw_path(scene.objects[0], first, options.frames, rng);
  draw_path(scene.objects[1], second, options.frames, rng);
  return scene;
}

Rgb background_rgb(ShapesBackground background) {
  constexpr std::array<Rgb, 3> palette{{{16, 16, 20}, {128, 128, 128}, {250, 250, 250}}};
  return palette[static_cast<std::size_t>(background)];
}

std::vector<std::uint8_t> render_scene(const ShapesScene& scene, int width, int height,
                                       int frames) {
  return render_frames(scene, width, height, frames, 0, frames);
}

std::vector<std::uint8_t> render_frames(const ShapesScene& scene, int width, int height, int frames,
                                        int first, int count) {
  const std::size_t frame_bytes =
      3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  std::vector<std::uint8_t> pixels(frame_bytes * static_cast<std::size_t>(count));
  const Rgb background = background_rgb(scene.background);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = background[i % 3];
  for (int t = 0; t < count; ++t) {
    const float progress =
        frames > 1 ? static_cast<float>(first + t) / static_cast<float>(frames - 1) : 0.0F;
    for (const ShapeObject& object : scene.objects) {
      draw_shape(object, pose_at(object, progress), width, height,
                 pixels.data() + static_cast<std::size_t>(t) * frame_bytes);
    }
  }
  return pixels;
}

std::vector<std::uint8_t> covering_kinds(const ShapesScene& scene, int width, int height,
                                         float progress) {
  const int rows = height / kCell, columns = width / kCell;
  std::vector<std::uint8_t> kinds(static_cast<std::size_t>(rows) *
                                  static_cast<std::size_t>(columns));
  for (const ShapeObject& object : scene.objects) {
    const Pose pose = pose_at(object, progress);
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) {
        const float x = (static_cast<float>(column) + 0.5F) * kCell - pose.x;
        const float y = (static_cast<float>(row) + 0.5F) * kCell - pose.y;
        if (evaluation::shape_distance(object.kind, x, y, pose.radius) > 0) continue;
        kinds[static_cast<std::size_t>(row * columns + column)] =
            static_cast<std::uint8_t>(1 + static_cast<int>(object.kind));
      }
    }
  }
  return kinds;
}

}  // namespace monarch::training
