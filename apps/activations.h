// Compares what our networks compute with reference activations of the Python original.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "monarch/models/wan/model_folder.h"

namespace monarch::apps {

struct ActivationResult {
  std::string name;
  double error = 0;     // relative L2
  std::string problem;  // empty: within the tolerance
};

// `file` is what tools/export_reference_activations.py writes: input.* and expect.* of
//   text_encoder  ids, mask [B, L] -> text [B, L, text_dim], rows beyond the prompt zero
//   transformer   x [B, C, F, H, W], t [B], context [B, L, text_dim] (y, clip_fea) -> flow, as x
//   vae           latent [B, C, F, h, w] -> video; video [B, 3, T, H, W] -> latent
// Parts that the file lacks are not loaded. Networks run in float32 on the CPU, one after another.
// Throws kCorrupt if the file holds none of them.
std::vector<ActivationResult> compare_activations(const models::ModelFolder& model,
                                                  const std::filesystem::path& file,
                                                  double tolerance);

}  // namespace monarch::apps
