// Held-out captions of the shapes world, and what videos show of them.
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

}  // namespace monarch::apps
