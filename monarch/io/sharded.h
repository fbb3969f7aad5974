// A folder of safetensors files read as one checkpoint.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "monarch/io/checkpoint.h"

namespace monarch::io {

// Only files whose names start with `stem` count. With an index (*.safetensors.index.json, as
// Hugging Face writes it) the files and tensors it names; without, all *.safetensors in name order.
// Tensors of all shards together, metadata of the first. Throws kNotFound (no safetensors, or a
// shard of the index is missing; all are named), kCorrupt (a tensor in two shards, or not in the
// shard that the index names), kInvalidArgument (two indices).
std::shared_ptr<const Checkpoint> open_sharded(const std::filesystem::path& folder,
                                               std::string_view stem = {});

}  // namespace monarch::io
