// `monarch evaluate shapes --stream`: does a stream still show its caption after a long time?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/shapes_captions.h"
#include "monarch/pipelines/generation_options.h"

namespace monarch::apps {

struct StreamArguments {
  std::string model;
  std::int64_t latent_frames = 0;  // of every stream
  std::uint64_t seed = 0;          // of the first caption's noise
  bool json = false, each = false;
};

// Streams every caption as `monarch serve` would, and prints accuracy, movement, time of a chunk
// and memory at both ends. Videos of 21 frames, one after another, are judged in the first and in
// the last 200 latent frames (or halves, if there are fewer). Throws kInvalidArgument for a model
// that does not stream and for fewer than 12 latent frames, kCancelled after Ctrl-C.
void evaluate_streams(const StreamArguments& arguments, const std::vector<Caption>& captions,
                      const pipelines::GenerationOptions& options);

}  // namespace monarch::apps
