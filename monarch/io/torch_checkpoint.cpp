#include "monarch/io/torch_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/pickle.h"
#include "monarch/io/strided_copy.h"
#include "monarch/io/text.h"
#include "monarch/io/zip_reader.h"

namespace monarch::io {
namespace {

using Bytes = std::span<const std::byte>;
using Kind = PickleKind;

// A pickle of a few hundred bytes can describe any number of leaves by referring to the same
// dictionary again and again.
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxLeaves = 1'000'000;
constexpr std::size_t kMaxLeafText = 64'000'000;

class TorchCheckpoint final : public Checkpoint {
 public:
  TorchCheckpoint(std::shared_ptr<MappedFile> file, Bytes bytes, const std::string& where)
      : file_(std::move(file)), where_(where), zip_(bytes, where), copy_budget_(2 * bytes.size()) {
    const ZipEntry& pickle_entry = find_pickle();
    const std::vector<std::byte> unpacked = unpack(pickle_entry);
    const Pickle pickle(pickle_entry.deflated ? Bytes(unpacked) : pickle_entry.bytes,
                        where + ": " + pickle_entry.name);
    if (pickle.root().kind == Kind::kTensor) {
      add_tensor("tensor", pickle.root());
    } else {
      flatten("", pickle.root(), 0);
    }
    add_metadata(pickle.root());
    set_tensors(std::move(tensors_), where);
  }

  void check_integrity() const override {
    for (const ZipEntry& entry : zip_.entries()) {
      if (!entry.deflated) zip_.check_stored(entry);
    }
  }

 private:
  static std::string dump(const nlohmann::json& json) {
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  // torch.save puts all records under one folder, named after the file.
  const ZipEntry& find_pickle() {
    constexpr std::string_view kPickle = "data.pkl";
    const ZipEntry* found = nullptr;
    for (const ZipEntry& entry : zip_.entries()) {
      const std::size_t slash = entry.name.find('/');
      const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
      if (std::string_view(entry.name).substr(begin) != kPickle) continue;
      MONARCH_CHECK_CODE(found == nullptr, kCorrupt, "[monarch_io] ", where_,
                         " has two records data.pkl");
      found = &entry;
      prefix_ = entry.name.substr(0, begin);
    }
    MONARCH_CHECK_CODE(found != nullptr, kUnsupported, "[monarch_io] ", where_,
                       " is a zip file, but not one of torch.save: it has no data.pkl");
    MONARCH_CHECK_CODE(zip_.find(prefix_ + "constants.pkl") == nullptr, kUnsupported,
                       "[monarch_io] ", where_,
                       " is a TorchScript program; save its state_dict() with torch.save instead");
    if (const ZipEntry* order = zip_.find(prefix_ + "byteorder")) {
      const std::string_view text(reinterpret_cast<const char*>(order->bytes.data()),
                                  order->bytes.size());
      MONARCH_CHECK_CODE(order->deflated || text == "little", kUnsupported, "[monarch_io] ", where_,
                         " has the byte order ", quote(text), "; 'little' is read");
    }
    return *found;
  }

  std::vector<std::byte> unpack(const ZipEntry& entry) const {
    if (entry.deflated) return zip_.inflate(entry);
    zip_.check_stored(entry);
    return {};
  }

  void count_leaf(std::size_t text_bytes) {
    leaf_text_ += text_bytes;
    MONARCH_CHECK_CODE(++num_leaves_ <= kMaxLeaves && leaf_text_ <= kMaxLeafText, kCorrupt,
                       "[monarch_io] ", where_, " describes more than ", kMaxLeaves,
                       " tensors and values, or ", byte_string(kMaxLeafText), " of names and text");
  }

  void flatten(const std::string& name, const PickleValue& value, int depth) {
    MONARCH_CHECK_CODE(depth <= kMaxDepth, kCorrupt, "[monarch_io] ", where_,
                       ": dictionaries are nested deeper than ", kMaxDepth, " levels");
    const std::string prefix = name.empty() ? "" : name + ".";
    switch (value.kind) {
      case Kind::kDict:
        for (std::size_t i = 0; i + 1 < value.items.size(); i += 2) {
          count_leaf(0);
          flatten(prefix + key_text(name, *value.items[i]), *value.items[i + 1], depth + 1);
        }
        return;
      case Kind::kList:
      case Kind::kTuple:
      case Kind::kSet:
        for (std::size_t i = 0; i < value.items.size(); ++i) {
          count_leaf(0);
          flatten(prefix + std::to_string(i), *value.items[i], depth + 1);
        }
        return;
      case Kind::kTensor: add_tensor(name, value); return;
      case Kind::kNone: add_value(name, nullptr); return;
      case Kind::kBool: add_value(name, value.integer != 0); return;
      case Kind::kInt: add_value(name, value.integer); return;
      case Kind::kFloat: add_value(name, value.real); return;
      case Kind::kString: add_value(name, value.text); return;
      case Kind::kBytes: add_value(name, str_cat(value.text.size(), " bytes")); return;
      case Kind::kGlobal: add_value(name, value.text); return;
      case Kind::kObject:  // not in such pickles
      case Kind::kStorage:
        fail(ErrorCode::kUnsupported, "[monarch_io] ", where_, ": ", quote(name),
             " is a storage without tensor");
    }
  }

  std::string key_text(const std::string& name, const PickleValue& key) const {
    if (key.kind == Kind::kString) return key.text;
    if (key.kind == Kind::kInt) return std::to_string(key.integer);
    fail(ErrorCode::kUnsupported, "[monarch_io] ", where_, ": a key of the dictionary ",
         quote(name), " is neither a string nor an integer");
  }

  void add_value(const std::string& name, nlohmann::json value) {
    count_leaf(name.size() + (value.is_string() ? value.get_ref<const std::string&>().size() : 0));
    MONARCH_CHECK_CODE(values_.emplace(name, std::move(value)).second, kCorrupt, "[monarch_io] ",
                       where_, ": ", quote(name), " occurs twice");
  }

  void add_tensor(const std::string& name, const PickleValue& value) {
    count_leaf(name.size());
    const std::string place = where_ + ": tensor " + quote(name);
    const PickleValue& storage = *value.items[0];
    const StridedView view{integers(*value.items[2]), integers(*value.items[3]),
                           value.items[1]->integer};
    const Bytes record = storage_bytes(storage, place);
    const std::size_t size = dtype_size(storage.dtype);
    check_strided_view(view, storage.integer, place);
    const auto num_elements = static_cast<std::uint64_t>(num_view_elements(view));
    const std::uint64_t num_bytes = num_elements * size;
    Bytes bytes;
    if (num_elements == 0 || is_contiguous(view)) {
      bytes = num_elements == 0 ? Bytes{} : record.subspan(view.offset * size, num_bytes);
    } else {
      // A view that repeats elements (expand) could describe any size; a copy of one that does not
      // is bounded by the file.
      MONARCH_CHECK_CODE(num_bytes <= copy_budget_, kUnsupported, "[monarch_io] ", place, " ",
                         shape_string(view.shape), " with strides ", shape_string(view.strides),
                         " is not contiguous and too large to copy; save it with .contiguous()");
      copy_budget_ -= num_bytes;
      owned_.push_back(copy_strided(view, record, size));
      bytes = owned_.back();
    }
    tensors_.push_back({name, storage.dtype, view.shape, bytes});
  }

  static std::vector<std::int64_t> integers(const PickleValue& tuple) {
    std::vector<std::int64_t> out;
    for (const PickleValue* item : tuple.items) out.push_back(item->integer);
    return out;
  }

  Bytes storage_bytes(const PickleValue& storage, const std::string& place) {
    const ZipEntry* entry = zip_.find(prefix_ + "data/" + storage.text);
    MONARCH_CHECK_CODE(entry != nullptr, kCorrupt, "[monarch_io] ", place,
                       " needs the record data/", storage.text, ", which the file lacks");
    const std::uint64_t size = dtype_size(storage.dtype);
    MONARCH_CHECK_CODE(static_cast<std::uint64_t>(storage.integer) <= entry->size / size, kCorrupt,
                       "[monarch_io] ", place, ": its storage of ", storage.integer, " ",
                       dtype_name(storage.dtype), " elements does not fit into a record of ",
                       entry->size, " bytes");
    if (!entry->deflated) return entry->bytes;
    auto [inflated, is_new] = inflated_.try_emplace(entry);
    if (is_new) inflated->second = zip_.inflate(*entry);
    return inflated->second;
  }

  void add_metadata(const PickleValue& root) {
    if (!values_.empty()) metadata_["values"] = dump(values_);
    if (root.kind != Kind::kDict) return;
    nlohmann::json groups = nlohmann::json::array();
    for (std::size_t i = 0; i + 1 < root.items.size(); i += 2) {
      const PickleValue& key = *root.items[i];
      if (root.items[i + 1]->kind != Kind::kDict || key.kind != Kind::kString) continue;
      const bool has_tensors = std::any_of(
          tensors_.begin(), tensors_.end(),
          [&](const TensorEntry& tensor) { return tensor.name.starts_with(key.text + "."); });
      if (has_tensors) groups.push_back(key.text);
    }
    if (!groups.empty()) metadata_["groups"] = dump(groups);
  }

  std::shared_ptr<MappedFile> file_;
  std::string where_;
  ZipReader zip_;
  std::string prefix_;
  std::vector<TensorEntry> tensors_;
  std::map<std::string, nlohmann::json> values_;
  std::map<const ZipEntry*, std::vector<std::byte>> inflated_;
  std::deque<std::vector<std::byte>> owned_;  // copies of tensors that are not contiguous
  std::uint64_t copy_budget_;
  std::size_t num_leaves_ = 0;
  std::size_t leaf_text_ = 0;
};

}  // namespace

std::shared_ptr<const Checkpoint> open_torch(const std::filesystem::path& path) {
  auto file = std::make_shared<MappedFile>(path);
  const auto bytes = file->bytes();
  return std::make_shared<TorchCheckpoint>(std::move(file), bytes, path.string());
}

std::shared_ptr<const Checkpoint> parse_torch(Bytes bytes, const std::string& where) {
  return std::make_shared<TorchCheckpoint>(nullptr, bytes, where);
}

}  // namespace monarch::io
