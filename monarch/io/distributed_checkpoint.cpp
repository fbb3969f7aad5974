#include "monarch/io/distributed_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/pickle.h"
#include "monarch/io/text.h"
#include "monarch/io/torch_checkpoint.h"

namespace monarch::io {
namespace {

namespace fs = std::filesystem;
using Numbers = std::vector<std::int64_t>;

// The bytes of one piece, and where it belongs.
struct Piece {
  Numbers offsets;
  std::string file;
  std::uint64_t begin = 0, length = 0;
};

class Metadata {
 public:
  explicit Metadata(const fs::path& file)
      : file_(file),
        where_(file.string()),
        pickle_(file_.bytes(), where_, PickleContent::kDistributedMetadata) {
    const PickleValue& state = attribute(pickle_.root(), "state_dict_metadata");
    for_pairs(state, [&](const PickleValue& name, const PickleValue& tensor) {
      // What is not a tensor (numbers, text) has no size.
      const PickleValue* size = find(tensor, "size");
      if (size != nullptr) shapes[name.text] = numbers(*size);
    });
    const PickleValue& storage = attribute(pickle_.root(), "storage_data");
    for_pairs(storage, [&](const PickleValue& index, const PickleValue& info) {
      const PickleValue* offset = find(index, "offset");
      pieces[attribute(index, "fqn").text].push_back(
          {.offsets = offset != nullptr && offset->kind == PickleKind::kTuple ? numbers(*offset)
                                                                              : Numbers(),
           .file = attribute(info, "relative_path").text,
           .begin = static_cast<std::uint64_t>(attribute(info, "offset").integer),
           .length = static_cast<std::uint64_t>(attribute(info, "length").integer)});
    });
  }

  std::map<std::string, Numbers> shapes;
  std::map<std::string, std::vector<Piece>> pieces;

 private:
  [[noreturn]] void damaged(std::string_view what) const {
    fail(ErrorCode::kCorrupt, "[monarch_io] ", where_,
         " is not the metadata of a distributed checkpoint: ", what);
  }

  template <typename Use>
  void for_pairs(const PickleValue& dict, Use use) const {
    if (dict.kind != PickleKind::kDict || dict.items.size() % 2 != 0) damaged("no dictionary");
    for (std::size_t i = 0; i < dict.items.size(); i += 2) use(*dict.items[i], *dict.items[i + 1]);
  }

  static const PickleValue* find(const PickleValue& object, std::string_view name) {
    if (object.kind != PickleKind::kObject) return nullptr;
    for (std::size_t i = 0; i + 1 < object.items.size(); i += 2) {
      if (object.items[i]->text == name) return object.items[i + 1];
    }
    return nullptr;
  }

  const PickleValue& attribute(const PickleValue& object, std::string_view name) const {
    const PickleValue* found = find(object, name);
    if (found == nullptr) damaged(str_cat("no ", name));
    return *found;
  }

  Numbers numbers(const PickleValue& tuple) const {
    Numbers result;
    if (tuple.kind != PickleKind::kTuple) damaged("a size is no tuple");
    for (const PickleValue* item : tuple.items) {
      if (item->kind != PickleKind::kInt || item->integer < 0) damaged("a size is no number");
      result.push_back(item->integer);
    }
    return result;
  }

  MappedFile file_;
  std::string where_;
  Pickle pickle_;
};

class DistributedCheckpoint final : public Checkpoint {
 public:
  explicit DistributedCheckpoint(const fs::path& folder) : folder_(folder) {
    const Metadata metadata(folder / ".metadata");
    std::vector<TensorEntry> tensors;
    for (const auto& [name, shape] : metadata.shapes) {
      const auto found = metadata.pieces.find(name);
      MONARCH_CHECK_CODE(found != metadata.pieces.end(), kCorrupt, "[monarch_io] ", folder.string(),
                         ": .metadata names no file for ", quote(name));
      tensors.push_back(assemble(name, shape, found->second));
    }
    set_tensors(std::move(tensors), folder.string());
  }

 private:
  // The one tensor of a piece's torch file.
  const TensorEntry& open(const std::string& name, const Piece& piece) {
    const fs::path relative = piece.file;
    MONARCH_CHECK_CODE(relative.is_relative() && !relative.empty() && !relative.has_parent_path(),
                       kCorrupt, "[monarch_io] ", folder_.string(), ": .metadata names the file ",
                       quote(piece.file), " outside of it");
    auto& file = files_[piece.file];
    if (!file) file = std::make_unique<MappedFile>(folder_ / relative);
    const auto bytes = file->bytes();
    MONARCH_CHECK_CODE(piece.begin <= bytes.size() && piece.length <= bytes.size() - piece.begin,
                       kCorrupt, "[monarch_io] ", file->path().string(), " ends before ",
                       quote(name), "; it was copied in part");
    parts_.push_back(
        parse_torch(bytes.subspan(piece.begin, piece.length), file->path().string() + ": " + name));
    const auto& tensors = parts_.back()->tensors();
    MONARCH_CHECK_CODE(tensors.size() == 1, kCorrupt, "[monarch_io] ", file->path().string(), ": ",
                       quote(name), " is ", tensors.size(), " tensors, not one");
    return tensors.front();
  }

  TensorEntry assemble(const std::string& name, const Numbers& shape,
                       const std::vector<Piece>& pieces) {
    if (pieces.size() == 1) {
      TensorEntry whole = open(name, pieces.front());
      check(whole.shape == shape, name);
      whole.name = name;
      return whole;
    }
    std::vector<TensorEntry> parts;
    std::uint64_t bytes = 0;
    for (const Piece& piece : pieces) {
      parts.push_back(open(name, piece));
      bytes += parts.back().bytes.size();
      check_place(name, shape, parts.back(), piece.offsets);
      check(parts.back().dtype == parts.front().dtype, name);
    }
    // Disjoint boxes inside, together as large as the whole, fill it.
    for (std::size_t i = 0; i < parts.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j)
        check(disjoint(parts[i], pieces[i].offsets, parts[j], pieces[j].offsets), name);
    }
    std::uint64_t expected = dtype_size(parts.front().dtype);
    for (const std::int64_t size : shape)
      check(!__builtin_mul_overflow(expected, static_cast<std::uint64_t>(size), &expected), name);
    check(bytes == expected, name);
    std::vector<std::byte>& storage = storage_.emplace_back(bytes);
    for (std::size_t i = 0; i < parts.size(); ++i)
      copy(parts[i], pieces[i].offsets, shape, storage);
    return {.name = name, .dtype = parts.front().dtype, .shape = shape, .bytes = storage};
  }

  void check_place(const std::string& name, const Numbers& shape, const TensorEntry& part,
                   const Numbers& offsets) const {
    check(!shape.empty() && part.shape.size() == shape.size() && offsets.size() == shape.size(),
          name);
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
      check(offsets[axis] <= shape[axis] && part.shape[axis] <= shape[axis] - offsets[axis], name);
  }

  static bool disjoint(const TensorEntry& a, const Numbers& a_at, const TensorEntry& b,
                       const Numbers& b_at) {
    if (a.bytes.empty() || b.bytes.empty()) return true;
    for (std::size_t axis = 0; axis < a_at.size(); ++axis) {
      if (a_at[axis] + a.shape[axis] <= b_at[axis] || b_at[axis] + b.shape[axis] <= a_at[axis])
        return true;
    }
    return false;
  }

  void check(bool good, const std::string& name) const {
    MONARCH_CHECK_CODE(good, kCorrupt, "[monarch_io] ", folder_.string(), ": the pieces of ",
                       quote(name), " do not fit together");
  }

  // Row by row of the last axis.
  static void copy(const TensorEntry& part, const Numbers& offsets, const Numbers& shape,
                   std::vector<std::byte>& into) {
    const std::size_t axes = shape.size();
    if (part.bytes.empty()) return;
    const std::size_t size = dtype_size(part.dtype);
    const std::size_t row = static_cast<std::size_t>(part.shape.back()) * size;
    Numbers at(axes, 0);
    for (std::size_t done = 0; done < part.bytes.size(); done += row) {
      std::int64_t index = 0;
      for (std::size_t axis = 0; axis < axes; ++axis)
        index = index * shape[axis] + at[axis] + offsets[axis];
      std::memcpy(into.data() + static_cast<std::size_t>(index) * size, part.bytes.data() + done,
                  row);
      for (std::size_t axis = axes - 1; axis-- > 0;) {
        if (++at[axis] < part.shape[axis]) break;
        at[axis] = 0;
      }
    }
  }

  fs::path folder_;
  std::map<std::string, std::unique_ptr<MappedFile>> files_;
  std::vector<std::shared_ptr<const Checkpoint>> parts_;
  std::deque<std::vector<std::byte>> storage_;
};

}  // namespace

std::shared_ptr<const Checkpoint> open_distributed(const fs::path& folder) {
  return std::make_shared<const DistributedCheckpoint>(folder);
}

}  // namespace monarch::io
