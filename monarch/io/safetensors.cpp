#include "monarch/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/tensor_view.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/safetensors_header.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
// The original implementation's limit; a real header has about 100 bytes a tensor.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

class SafetensorsCheckpoint final : public Checkpoint {
 public:
  SafetensorsCheckpoint(std::shared_ptr<MappedFile> file, std::span<const std::byte> bytes,
                        const std::string& where)
      : file_(std::move(file)) {
    MONARCH_CHECK_CODE(bytes.size() >= kLengthBytes, kCorrupt, "[monarch_io] ", where, " has ",
                       bytes.size(), " bytes: too short for a safetensors file");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
    const std::uint64_t rest = bytes.size() - kLengthBytes;
    MONARCH_CHECK_CODE(header_bytes <= kMaxHeaderBytes, kCorrupt, "[monarch_io] ", where,
                       ": the header claims ", header_bytes, " bytes; at most ", kMaxHeaderBytes,
                       " are allowed. Is this a safetensors file?");
    MONARCH_CHECK_CODE(header_bytes <= rest, kCorrupt, "[monarch_io] ", where,
                       ": the header claims ", header_bytes, " bytes, but only ", rest,
                       " follow; the file is truncated or not a safetensors file");
    SafetensorsHeader header = parse_safetensors_header(
        {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes}, where);
    metadata_ = std::move(header.metadata);
    set_tensors(place(header.tensors, bytes.subspan(kLengthBytes + header_bytes), where), where);
  }

 private:
  // Sorts by offset and checks that the tensors tile the data exactly.
  static std::vector<TensorEntry> place(std::vector<HeaderTensor>& tensors,
                                        std::span<const std::byte> data, const std::string& where) {
    std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::vector<TensorEntry> entries;
    entries.reserve(tensors.size());
    std::uint64_t expected_begin = 0;
    std::string previous = "the header";
    for (HeaderTensor& tensor : tensors) {
      const std::string name = "tensor " + quote(tensor.name);
      MONARCH_CHECK_CODE(tensor.end <= data.size(), kCorrupt, "[monarch_io] ", where, ": ", name,
                         " ends at byte ", tensor.end, " of the data, but there are only ",
                         data.size(), "; the file is truncated or damaged");
      MONARCH_CHECK_CODE(tensor.begin >= expected_begin, kCorrupt, "[monarch_io] ", where, ": ",
                         name, " overlaps ", previous);
      MONARCH_CHECK_CODE(tensor.begin == expected_begin, kCorrupt, "[monarch_io] ", where, ": ",
                         tensor.begin - expected_begin, " unused bytes between ", previous, " and ",
                         name);
      expected_begin = tensor.end;
      previous = name;
      entries.push_back({std::move(tensor.name), tensor.dtype, std::move(tensor.shape),
                         data.subspan(tensor.begin, tensor.end - tensor.begin)});
    }
    MONARCH_CHECK_CODE(expected_begin == data.size(), kCorrupt, "[monarch_io] ", where, ": ",
                       data.size() - expected_begin, " unused bytes after ", previous);
    return entries;
  }

  std::shared_ptr<MappedFile> file_;
};

std::string header_text(std::span<const TensorEntry* const> entries, const Metadata& metadata) {
  // ordered_json keeps the order of insertion: metadata first, then the tensors in file order.
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorEntry* entry : entries) {
    const std::uint64_t bytes = checked_num_bytes(entry->shape, entry->dtype);
    header[entry->name] = {{"dtype", dtype_name(entry->dtype)},
                           {"shape", entry->shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

std::shared_ptr<const Checkpoint> open_safetensors(const std::filesystem::path& path) {
  auto file = std::make_shared<MappedFile>(path);
  const auto bytes = file->bytes();
  return std::make_shared<SafetensorsCheckpoint>(std::move(file), bytes, path.string());
}

std::shared_ptr<const Checkpoint> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& where) {
  return std::make_shared<SafetensorsCheckpoint>(nullptr, bytes, where);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                       const Metadata& metadata) {
  write_safetensors(path, entries, metadata,
                    [](const TensorEntry& entry, const ByteSink& sink) { sink(entry.bytes); });
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                       const Metadata& metadata, const TensorFill& fill) {
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& entry : entries) {
    MONARCH_CHECK(!entry.name.empty() && is_valid_utf8(entry.name) && entry.name != "__metadata__",
                  "[monarch_io] ", quote(entry.name),
                  " cannot name a tensor in a safetensors file");
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    const std::size_t size_a = dtype_size(a->dtype), size_b = dtype_size(b->dtype);
    return size_a != size_b ? size_a > size_b : a->name < b->name;
  });
  std::vector<std::string_view> names;
  names.reserve(order.size());
  for (const TensorEntry* entry : order) names.push_back(entry->name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  MONARCH_CHECK(twice == names.end(), "[monarch_io] two tensors are named ", quote(*twice),
                "; names must differ in a safetensors file");

  AtomicFile file(path);
  const std::string header = header_text(order, metadata);
  const std::uint64_t header_bytes = header.size();
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(header);
  for (const TensorEntry* entry : order) {
    std::uint64_t written = 0;
    fill(*entry, [&](std::span<const std::byte> bytes) {
      file.write(bytes);
      written += bytes.size();
    });
    const std::uint64_t expected = checked_num_bytes(entry->shape, entry->dtype);
    MONARCH_CHECK(written == expected, "[monarch_io] tensor ", quote(entry->name), " ",
                  dtype_name(entry->dtype), " ", shape_string(entry->shape), " needs ", expected,
                  " bytes, but ", written, " were given");
  }
  file.commit();
}

}  // namespace monarch::io
