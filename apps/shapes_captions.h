// Held-out captions of the shapes world, and how much of them videos keep.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "monarch/evaluation/shapes_analyser.h"
#include "monarch/pipelines/generation_options.h"
#include "monarch/training/data/shapes_dataset.h"

namespace monarch::apps {

struct Caption {
  training::ShapesScene scene;
  std::string text;
};

// Captions from combinations of colour, shape and motion that training never draws, for videos of
// these sizes. The first three quarters show one shape, the rest two.
std::vector<Caption> draw_captions(std::int64_t count, std::uint64_t seed,
                                   const pipelines::GenerationOptions& options);

std::vector<evaluation::ShapeClaim> claims_of(const Caption& caption);

// frames [T, H, W, 3] of bytes, contiguous
evaluation::ShapesAnalysis analyse_frames(const at::Tensor& frames);

// How many shapes were claimed, and how many attributes of them were seen.
struct Tally {
  std::int64_t shapes = 0, color = 0, kind = 0, motion = 0, all = 0;

  void add(const evaluation::ShapeScore& score);
  double percent(std::int64_t count) const;
};

}  // namespace monarch::apps
