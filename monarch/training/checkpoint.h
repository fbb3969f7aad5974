// Tensors and training state on disk, written so that a kill at any moment leaves the last complete
// file.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

struct TrainingState {
  models::TensorMap tensors;                    // "param.*", "ema.*", "m.*", "v.*", ...
  std::map<std::string, std::string> metadata;  // "step", "recipe", ...
};

// Writes safetensors to a temporary name, flushes, renames.
void save_tensors(const std::filesystem::path& path, const models::TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata = {});
// Copies of all tensors of a file, in memory of their own.
TrainingState load_tensors(const std::filesystem::path& path);

// The entries that start with `prefix`, without it; and the reverse.
models::TensorMap take_prefix(const models::TensorMap& tensors, const std::string& prefix);
models::TensorMap add_prefix(const models::TensorMap& tensors, const std::string& prefix);

// All floating tensors in another element type.
models::TensorMap cast_tensors(const models::TensorMap& tensors, at::ScalarType dtype);

}  // namespace monarch::training
