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

struct ShapesCrop {
  at::Tensor video;  // [3, frames, size, size]
  at::Tensor kinds;  // int64 [1 + (frames - 1) / 4, size / 8, size / 8]: covering_kinds of a
                     // latent's cell, in the middle of its frames
};

class ShapesDataset {
 public:
  ShapesDataset(ShapesOptions options, std::uint64_t seed) : options_(options), seed_(seed) {}

  const ShapesOptions& options() const { return options_; }
  ShapesSample sample(std::uint64_t index) const;
  // [3, frames, height, width] in [-1, 1]
  at::Tensor video(const ShapesScene& scene) const;
  // Of those, `count` frames from `first` on: [3, count, height, width]
  at::Tensor clip(const ShapesScene& scene, int first, int count) const;
  // Part of a video around one of its shapes, from a random first frame.
  ShapesCrop crop(const ShapesScene& scene, int size, int frames, ShapesRng& rng) const;

 private:
  at::Tensor kinds(const ShapesScene& scene, int first, int frames) const;

  ShapesOptions options_;
  std::uint64_t seed_;
};

}  // namespace monarch::training
