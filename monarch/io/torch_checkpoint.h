// Files of torch.save: a zip archive with one pickle (data.pkl) and one record for each storage.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "monarch/io/checkpoint.h"
#include "monarch/io/safetensors.h"

namespace monarch::io {

// Memory-maps one file. Nested dictionaries and lists are joined with '.'; contiguous tensors point
// into the mapping, others are copied once. No code of the pickle is run (pickle.h). Metadata:
//   "values"  JSON object of all leaves that are not tensors, under their joined names
//   "groups"  JSON list of the top-level keys that hold dictionaries ("generator", ...)
// Throws kCorrupt (damaged or hostile), kUnsupported (what the allow-list lacks, by name; files
// from before torch 1.6; bare pickles; TorchScript; big-endian).
std::shared_ptr<const Checkpoint> open_torch(const std::filesystem::path& path);
std::shared_ptr<const Checkpoint> parse_torch(std::span<const std::byte> bytes,
                                              const std::string& where);

// Writes what torch.load(path, weights_only=True) opens: a dictionary from name to tensor. Names
// that start with one of `groups` and a dot go, without that prefix, into a dictionary under that
// key. Same guarantees and errors as write_safetensors.
void write_torch(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                 std::span<const std::string> groups = {});
void write_torch(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                 std::span<const std::string> groups, const TensorFill& fill);

}  // namespace monarch::io
