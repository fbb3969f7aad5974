// How much of their captions videos of the shapes world keep, and how sure one may be of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/evaluation/shapes_analyser.h"

namespace monarch::evaluation {

// How many shapes were claimed, and how many attributes of them were seen.
struct ShapesTally {
  std::int64_t shapes = 0, color = 0, kind = 0, motion = 0, all = 0;

  void add(const ShapeScore& score);
  void add(const ShapesTally& other);
  double percent(std::int64_t count) const;
};

Json percentages(const ShapesTally& tally);

// One video of one caption.
struct VideoScore {
  std::int64_t caption = 0;  // its number
  std::int64_t seed = 0;     // number of the noise
  ShapesTally tally;
  // Reference-free: mean over the claimed shapes of how well the outline seen fits the nearest
  // known one (intersection over union), 0 for a shape that is missing.
  double overlap = 0;
  double seconds = 0;  // to make it
  // Against the reference's video of the same caption and noise; no psnr: the two are equal.
  std::optional<double> psnr = {}, ssim = {};
};

VideoScore score_video(std::span<const ShapeClaim> claims, const ShapesAnalysis& analysis);

Json to_json(const VideoScore& score);
VideoScore video_score_from_json(const Json& json);

enum class Attribute { kColor, kShape, kMotion, kAll };

// A share of shapes, or a difference of two, with its 95 % interval: NaN, NaN for fewer than two
// captions.
struct Estimate {
  double value = 0, low = 0, high = 0;
};

// Share of claimed shapes whose attribute was seen, [0, 1]. The interval is the percentile
// bootstrap over captions (Efron 1979): captions are drawn with replacement, each with all its
// shapes and noises, for these are not independent; 10,000 draws of a fixed seed.
Estimate accuracy(std::span<const VideoScore> videos, Attribute attribute);

// accuracy of `videos` minus that of `reference`, on the pairs of the same caption and noise that
// are in both, [-1, 1]; a drawn caption counts on both sides. Throws if a pair claims different
// numbers of shapes.
Estimate accuracy_difference(std::span<const VideoScore> videos,
                             std::span<const VideoScore> reference, Attribute attribute);

// Those whose captions show this many shapes.
std::vector<VideoScore> with_shapes(std::span<const VideoScore> videos, std::int64_t shapes);

}  // namespace monarch::evaluation
