// Samples of the shapes world as tensors: videos, captions and true attributes, each a function of
// (seed, index).
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "monarch/training/data/shapes_caption.h"
#include "monarch/training/data/shapes_scene.h"

namespace monarch::training {

struct ShapesSample {
  ShapesScene scene;
  std::string caption;
};

class ShapesDataset {
 public:
  ShapesDataset(ShapesOptions options, std::uint64_t seed) : options_(options), seed_(seed) {}

  const ShapesOptions& options() const { return options_; }
  ShapesSample sample(std::uint64_t index) const;
  // [3, frames, height, width] in [-1, 1]
  at::Tensor video(const ShapesScene& scene) const;
  // Part of a video around one of its shapes: [3, frames, size, size] from a random first frame.
  at::Tensor crop(const ShapesScene& scene, int size, int frames, ShapesRng& rng) const;

 private:
  ShapesOptions options_;
  std::uint64_t seed_;
};

}  // namespace monarch::training
