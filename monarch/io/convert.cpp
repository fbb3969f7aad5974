#include "monarch/io/convert.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"
#include "monarch/io/text.h"
#include "monarch/io/torch_checkpoint.h"

namespace monarch::io {
namespace {

// Tensors go through memory in pieces of this many elements.
constexpr std::size_t kPiece = std::size_t{1} << 22;

void append_as(std::vector<std::byte>& out, double value, DType dtype) {
  const auto append = [&](auto number) {
    const auto bytes = std::as_bytes(std::span(&number, 1));
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  switch (dtype) {
    case DType::kF64: append(value); return;
    case DType::kF32: append(static_cast<float>(value)); return;
    case DType::kF16: append(f32_to_f16(static_cast<float>(value))); return;
    default: append(f32_to_bf16(static_cast<float>(value))); return;
  }
}

bool overflows(double value, DType dtype) {
  const auto narrow = static_cast<float>(value);
  switch (dtype) {
    case DType::kF64: return false;
    case DType::kF32: return std::isinf(narrow);
    case DType::kF16: return std::isinf(f16_to_f32(f32_to_f16(narrow)));
    default: return std::isinf(bf16_to_f32(f32_to_bf16(narrow)));
  }
}

void check_target(DType dtype) {
  MONARCH_CHECK(dtype <= DType::kBF16, "[monarch_io] cannot convert to ", dtype_name(dtype),
                "; use F64, F32, F16 or BF16");
}

std::vector<std::byte> convert_piece(const TensorEntry& piece, DType dtype) {
  std::vector<std::byte> out;
  out.reserve(piece.bytes.size() / dtype_size(piece.dtype) * dtype_size(dtype));
  for (const double value : to_doubles(piece)) {
    MONARCH_CHECK(!std::isfinite(value) || !overflows(value, dtype), "[monarch_io] tensor ",
                  quote(piece.name), " holds ", value, ", which ", dtype_name(dtype),
                  " cannot; use BF16 or F32");
    append_as(out, value, dtype);
  }
  return out;
}

void convert_to(const TensorEntry& tensor, DType dtype, const ByteSink& sink) {
  const std::size_t step = kPiece * dtype_size(tensor.dtype);
  for (std::size_t at = 0; at < tensor.bytes.size(); at += step) {
    const std::size_t count = std::min(step, tensor.bytes.size() - at);
    sink(convert_piece({tensor.name, tensor.dtype, {}, tensor.bytes.subspan(at, count)}, dtype));
  }
}

std::vector<std::string> groups_of(const Checkpoint& checkpoint) {
  const auto found = checkpoint.metadata().find("groups");
  if (found == checkpoint.metadata().end()) return {};
  const auto json = nlohmann::json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> groups;
  for (const auto& group : json) {
    if (group.is_string()) groups.push_back(group.get<std::string>());
  }
  return groups;
}

}  // namespace

std::vector<std::byte> convert_bytes(const TensorEntry& tensor, DType dtype) {
  check_target(dtype);
  return convert_piece(tensor, dtype);
}

void convert_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path,
                        const ConvertOptions& options) {
  if (options.dtype) check_target(*options.dtype);
  std::vector<TensorEntry> entries;
  std::map<std::string, const TensorEntry*> sources;
  for (const TensorEntry& tensor : checkpoint.tensors()) {
    TensorEntry entry = tensor;
    if (const auto name = options.rename.find(tensor.name); name != options.rename.end()) {
      entry.name = name->second;
    }
    if (entry.name.empty()) continue;
    if (options.dtype && is_floating(entry.dtype)) entry.dtype = *options.dtype;
    sources[entry.name] = &tensor;
    entries.push_back(std::move(entry));
  }
  const TensorFill fill = [&](const TensorEntry& entry, const ByteSink& sink) {
    const TensorEntry& source = *sources.at(entry.name);
    if (source.dtype == entry.dtype) {
      sink(source.bytes);
    } else {
      convert_to(source, entry.dtype, sink);
    }
  };
  // Groups name the dictionaries of the stored names, which renaming takes away.
  Metadata metadata = checkpoint.metadata();
  if (!options.rename.empty()) metadata.erase("groups");
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") {
    write_safetensors(path, entries, metadata, fill);
    return;
  }
  MONARCH_CHECK(extension == ".pt" || extension == ".pth",
                "[monarch_io] cannot write a checkpoint as ", quote(path.string()),
                "; use a name ending in .safetensors, .pt or .pth");
  const std::vector<std::string> groups =
      options.rename.empty() ? groups_of(checkpoint) : std::vector<std::string>();
  write_torch(path, entries, groups, fill);
}

}  // namespace monarch::io
