// Captions for shapes scenes: synonyms and word order vary, so that a model trained on them takes
// free wording.
#pragma once

#include <string>

#include "monarch/training/data/shapes_scene.h"

namespace monarch::training {

// Words that say what the scene shows; what they leave out has its default (medium size, black
// background, and now and then no motion word for a shape that stands still).
std::string caption_scene(const ShapesScene& scene, ShapesRng& rng);

// The plainest wording: "a small red circle moving right on a white background".
std::string plain_caption(const ShapesScene& scene);

}  // namespace monarch::training
