// Named tensors in a file or a folder of files, whatever the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/base/dtype.h"

namespace monarch::io {

struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  // Row-major, contiguous. Not necessarily aligned to the element size: files decide where tensors
  // start. Valid as long as the Checkpoint that owns them.
  std::span<const std::byte> bytes;

  std::int64_t num_elements() const;
};

// An opened checkpoint: immutable, shared, and safe to read from several threads. Tensor bytes
// point into memory-mapped files where the format allows it.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  // In the order of the file (folders: shard after shard).
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  // nullptr if there is no such tensor.
  const TensorEntry* find(std::string_view name) const;
  // safetensors: the entries of __metadata__. Torch files: one entry, "values", JSON of all leaves
  // that are not tensors (numbers, strings, ...) under their joined names.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Reads everything and compares checksums where the format has them (torch files); throws
  // kCorrupt.
  virtual void check_integrity() const {}

 protected:
  Checkpoint() = default;
  // Takes over the entries; throws kCorrupt, naming `where`, if a name occurs twice.
  void set_tensors(std::vector<TensorEntry> tensors, const std::string& where);

  std::map<std::string, std::string> metadata_;

 private:
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// Opens by content, not by extension: a .safetensors file, a torch zip (.pt, .pth, .bin), a
// folder with *.safetensors (sharded or not), or one of torch.distributed.checkpoint. Nested
// dictionaries are joined with '.'. Throws Error: kNotFound, kCorrupt, kUnsupported, kIo, each
// naming the file.
std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path);

// Elements as numbers; any dtype but the 8-bit floats (kUnsupported).
std::vector<double> to_doubles(const TensorEntry& tensor);
// Integer and bool tensors only (kInvalidArgument).
std::vector<std::int64_t> to_int64s(const TensorEntry& tensor);

}  // namespace monarch::io
