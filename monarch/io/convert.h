// Checkpoints from one format, and one floating type, to another.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "monarch/io/checkpoint.h"

namespace monarch::io {

// The tensor's bytes as `dtype`; floating types only, rounded to nearest even. Throws
// kInvalidArgument if a finite value becomes infinite (F16 ends at 65504), naming tensor and value.
std::vector<std::byte> convert_bytes(const TensorEntry& tensor, DType dtype);

struct ConvertOptions {
  std::optional<DType> dtype;                 // of the floating tensors; integers stay as they are
  std::map<std::string, std::string> rename;  // stored name -> new name, "" leaves the tensor out
};

// Writes `checkpoint` to `path`: .safetensors, or .pt/.pth, where the "groups" of the metadata
// become dictionaries again. One tensor is in memory at a time. Errors as write_safetensors and
// write_torch; kInvalidArgument for another extension.
void convert_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path,
                        const ConvertOptions& options = {});

}  // namespace monarch::io
