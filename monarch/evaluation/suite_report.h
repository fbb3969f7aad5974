// What `monarch evaluate shapes --suite` reports of its results.
#pragma once

#include <span>
#include <string>

#include "monarch/base/options_reader.h"
#include "monarch/evaluation/shapes_scores.h"

namespace monarch::evaluation {

// All measures of one entry, percent and points where accuracies are meant:
//   "videos", "shapes"
//   "one_shape", "two_shapes", "every": {"shapes", "color", "shape", "motion", "all"}, the last
//   four
//       each {"percent", "low", "high"}
//   "overlap", "seconds" (median)
//   and where there is a `reference`: "difference": {"color", "shape", "motion", "all"}, each
//   {"points", "low", "high"}; "psnr" (of videos that differ), "ssim": {"mean", "deviation"};
//   "identical": videos equal to the reference's
// low and high are 95 % intervals (accuracy, accuracy_difference), null where there are too few
// captions.
Json summarize(std::span<const VideoScore> videos, std::span<const VideoScore> reference);

// Tables of accuracies, of differences to the references, and of cost. `results` is what the
// command writes; entries that are missing or not finished say so.
std::string suite_markdown(const Json& results);

// Accuracies of all shapes with their intervals.
std::string suite_svg(const Json& results);

}  // namespace monarch::evaluation
