// The safetensors format: https://github.com/huggingface/safetensors (format section of its
// README).
//
// 8 bytes little-endian header length, a JSON object (name -> dtype, shape, data_offsets; optional
// __metadata__ of strings), then the tensors' bytes without holes.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "monarch/io/checkpoint.h"

namespace monarch::io {

// Memory-maps one file; tensors are in the order of their bytes. Strict: throws kCorrupt for a
// header longer than the file or 100 MB, bad JSON or UTF-8, duplicate or unknown keys, negative or
// overflowing sizes, offsets that leave the file, overlap, leave holes or disagree with dtype and
// shape, and bytes left over; kUnsupported for a dtype that monarch does not have.
std::shared_ptr<const Checkpoint> open_safetensors(const std::filesystem::path& path);

// The same over bytes in memory (tests, fuzzing); `bytes` must outlive the result.
std::shared_ptr<const Checkpoint> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& where);

using Metadata = std::map<std::string, std::string>;

// Writes to a temporary name, flushes, renames: the final name never shows half a file.
// Tensors are ordered by element size, then name, so that each is aligned and the same content
// gives the same bytes. Throws kInvalidArgument for duplicate names or bytes that disagree with the
// shape, kIo for a full disk or an unwritable folder (nothing is left behind).
void write_safetensors(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                       const Metadata& metadata = {});

// For content made on the way (conversions): `entries` need no bytes; `fill` is called for each in
// file order and passes its bytes, in any number of pieces, to the sink.
using ByteSink = std::function<void(std::span<const std::byte>)>;
using TensorFill = std::function<void(const TensorEntry&, const ByteSink&)>;
void write_safetensors(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                       const Metadata& metadata, const TensorFill& fill);

}  // namespace monarch::io
