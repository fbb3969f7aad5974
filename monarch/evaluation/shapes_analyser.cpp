#include "monarch/evaluation/shapes_analyser.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "monarch/base/error.h"
#include "monarch/evaluation/shapes_segmentation.h"

namespace monarch::evaluation {
namespace {

constexpr double kMinOverlap = 0.7;        // below this the outline is called unknown
constexpr std::size_t kOutlineFrames = 7;  // the outline is judged where the shape is largest
constexpr double kGrowth = 1.8;            // ratio of areas, last to first
constexpr double kTravel = 5.0;            // pixels

constexpr double kDrift = 28.0;  // pixels that a growing or shrinking shape may wander

struct Track {
  std::vector<ShapeRegion> regions;  // one a frame in which it was seen
  double pixels = 0;
};

double squared_distance(const std::array<double, 3>& a, const std::array<double, 3>& b) {
  double sum = 0;
  for (std::size_t c = 0; c < 3; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

// Joins the regions of successive frames by nearness in place and colour.
std::vector<Track> follow(const std::vector<std::vector<ShapeRegion>>& frames, double reach) {
  std::vector<Track> tracks;
  for (const auto& regions : frames) {
    std::vector<bool> claimed(tracks.size(), false);
    for (const ShapeRegion& region : regions) {
      std::size_t best = tracks.size();
      double best_cost = 1.0;
      for (std::size_t i = 0; i < claimed.size(); ++i) {
        if (claimed[i]) continue;
        const ShapeRegion& last = tracks[i].regions.back();
        const double away =
            std::hypot(region.center_x - last.center_x, region.center_y - last.center_y) / reach;
        const double unlike = std::sqrt(squared_distance(region.color, last.color)) / 200.0;
        if (away + unlike < best_cost) {
          best_cost = away + unlike;
          best = i;
        }
      }
      if (best == tracks.size()) {
        tracks.emplace_back();
      } else {
        claimed[best] = true;
      }
      tracks[best].regions.push_back(region);
      tracks[best].pixels += region.area;
    }
  }
  std::stable_sort(tracks.begin(), tracks.end(),
                   [](const Track& a, const Track& b) { return a.pixels > b.pixels; });
  return tracks;
}

ShapeColor nearest_color(const Track& track) {
  std::array<double, 3> mean{};
  for (const ShapeRegion& region : track.regions) {
    for (std::size_t c = 0; c < 3; ++c) mean[c] += region.color[c] * region.area / track.pixels;
  }
  ShapeColor best{};
  double best_distance = 1e30;
  for (int i = 0; i < kNumColors; ++i) {
    const Rgb rgb = color_rgb(static_cast<ShapeColor>(i));
    const double distance =
        squared_distance(mean, {double(rgb[0]), double(rgb[1]), double(rgb[2])});
    if (distance < best_distance) {
      best_distance = distance;
      best = static_cast<ShapeColor>(i);
    }
  }
  return best;
}

// Intersection over union of a region with a template of equal area and centre.
double outline_overlap(const ShapeRegion& region, ShapeKind kind) {
  const double radius = std::sqrt(region.area / shape_area_factor(kind));
  double both = 0;
  double any = 0;
  for (int y = 0; y < region.height; ++y) {
    for (int x = 0; x < region.width; ++x) {
      const double seen = region.cover[static_cast<std::size_t>(y * region.width + x)];
      const float distance =
          shape_distance(kind, static_cast<float>(region.left + x + 0.5 - region.center_x),
                         static_cast<float>(region.top + y + 0.5 - region.center_y +
                                            shape_center_y(kind) * radius),
                         static_cast<float>(radius));
      const double expected = std::clamp(0.5 - distance, 0.0, 1.0);
      both += std::min(seen, expected);
      any += std::max(seen, expected);
    }
  }
  return any > 0 ? both / any : 0.0;
}

void judge_outline(const Track& track, ShapeObservation& observation) {
  std::vector<const ShapeRegion*> largest;
  for (const ShapeRegion& region : track.regions) largest.push_back(&region);
  std::stable_sort(largest.begin(), largest.end(),
                   [](const ShapeRegion* a, const ShapeRegion* b) { return a->area > b->area; });
  largest.resize(std::min(largest.size(), kOutlineFrames));
  ShapeKind best{};
  for (int i = 0; i < kNumKinds; ++i) {
    double sum = 0;
    for (const ShapeRegion* region : largest)
      sum += outline_overlap(*region, static_cast<ShapeKind>(i));
    const double overlap = sum / static_cast<double>(largest.size());
    if (overlap > observation.overlap) {
      observation.overlap = overlap;
      best = static_cast<ShapeKind>(i);
    }
  }
  if (observation.overlap >= kMinOverlap) observation.kind = best;
}

ShapeMotion judge_motion(const Track& track) {
  const auto& regions = track.regions;
  const std::size_t count = regions.size();
  const std::size_t end = std::max<std::size_t>(1, count / 6);
  double dx = 0, dy = 0, area_first = 0, area_last = 0;
  for (std::size_t i = 0; i < end; ++i) {
    const ShapeRegion& first = regions[i];
    const ShapeRegion& last = regions[count - 1 - i];
    dx += (last.center_x - first.center_x) / static_cast<double>(end);
    dy += (last.center_y - first.center_y) / static_cast<double>(end);
    area_first += first.area;
    area_last += last.area;
  }
  double path_y = 0, low = 1e30, high = -1e30;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) path_y += std::abs(regions[i].center_y - regions[i - 1].center_y);
    low = std::min(low, regions[i].center_y);
    high = std::max(high, regions[i].center_y);
  }
  const double travel = std::hypot(dx, dy);
  const double growth = area_last / area_first;
  if (travel < kDrift && growth > kGrowth) return ShapeMotion::kGrowing;
  if (travel < kDrift && growth < 1 / kGrowth) return ShapeMotion::kShrinking;
  // To and fro: the way is much longer than what remains of it.
  if (high - low > kTravel && high - low > 2 * std::abs(dx) && path_y > 1.8 * (high - low)) {
    return ShapeMotion::kBouncing;
  }
  if (travel < kTravel) return ShapeMotion::kStill;
  if (std::abs(dx) > std::abs(dy)) return dx > 0 ? ShapeMotion::kRight : ShapeMotion::kLeft;
  return dy > 0 ? ShapeMotion::kDown : ShapeMotion::kUp;
}

int agreement(const ShapeScore& score) {
  return int{score.color} + int{score.kind} + int{score.motion};
}

ShapeScore compare(const ShapeClaim& claim, const ShapeObservation& seen) {
  return {seen.color == claim.color, seen.kind == claim.kind, seen.motion == claim.motion};
}

}  // namespace

ShapesAnalysis analyse_shapes(std::span<const std::uint8_t> pixels, int frames, int height,
                              int width, std::size_t max_shapes) {
  MONARCH_CHECK(frames > 0 && height > 0 && width > 0 &&
                    pixels.size() == 3 * static_cast<std::size_t>(frames) *
                                         static_cast<std::size_t>(height) *
                                         static_cast<std::size_t>(width),
                "[monarch_evaluation] ", frames, " frames of ", width, "x", height,
                " pixels do not have ", pixels.size(), " bytes");
  ShapesAnalysis analysis;
  analysis.background = background_color(pixels, frames, height, width);
  const std::size_t frame_bytes = pixels.size() / static_cast<std::size_t>(frames);
  std::vector<std::vector<ShapeRegion>> regions;
  for (int t = 0; t < frames; ++t) {
    regions.push_back(
        find_regions(pixels.subspan(static_cast<std::size_t>(t) * frame_bytes, frame_bytes), height,
                     width, analysis.background));
  }
  for (const Track& track : follow(regions, 0.25 * width)) {
    const double presence = static_cast<double>(track.regions.size()) / frames;
    if (presence < 0.5 || analysis.shapes.size() >= max_shapes) continue;
    ShapeObservation observation;
    observation.presence = presence;
    observation.color = nearest_color(track);
    observation.motion = judge_motion(track);
    judge_outline(track, observation);
    for (const ShapeRegion& region : track.regions) {
      observation.center_x += region.center_x / static_cast<double>(track.regions.size());
      observation.center_y += region.center_y / static_cast<double>(track.regions.size());
    }
    observation.area = track.pixels / static_cast<double>(track.regions.size());
    analysis.shapes.push_back(observation);
  }
  return analysis;
}

std::vector<ShapeScore> score_claims(std::span<const ShapeClaim> claims,
                                     const ShapesAnalysis& analysis) {
  std::vector<ShapeScore> best(claims.size());
  std::vector<std::size_t> order(std::max(claims.size(), analysis.shapes.size()));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  int best_total = -1;
  do {
    std::vector<ShapeScore> scores(claims.size());
    int total = 0;
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (order[i] < analysis.shapes.size())
        scores[i] = compare(claims[i], analysis.shapes[order[i]]);
      total += agreement(scores[i]);
    }
    if (total > best_total) {
      best_total = total;
      best = scores;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

}  // namespace monarch::evaluation
