#include <algorithm>
#include <set>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/tensor_view.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/pickle_opcodes.h"
#include "monarch/io/text.h"
#include "monarch/io/torch_checkpoint.h"
#include "monarch/io/zip_writer.h"

namespace monarch::io {
namespace {

std::string_view storage_type(DType dtype) {
  switch (dtype) {
    case DType::kF64: return "DoubleStorage";
    case DType::kF32: return "FloatStorage";
    case DType::kF16: return "HalfStorage";
    case DType::kBF16: return "BFloat16Storage";
    case DType::kI64: return "LongStorage";
    case DType::kI32: return "IntStorage";
    case DType::kI16: return "ShortStorage";
    case DType::kI8: return "CharStorage";
    case DType::kU8: return "ByteStorage";
    case DType::kBool: return "BoolStorage";
    default: break;
  }
  fail(ErrorCode::kUnsupported, "[monarch_io] ", dtype_name(dtype),
       " tensors are not written to torch files; use safetensors");
}

// Writes pickle protocol 2, the one of torch.save.
class PickleWriter {
 public:
  PickleWriter() {
    op(PickleOpcode::kProto);
    text_ += '\2';
  }

  void op(PickleOpcode code) { text_ += static_cast<char>(code); }

  void integer(std::int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      op(PickleOpcode::kBinInt);
      raw(static_cast<std::int32_t>(value));
    } else {
      op(PickleOpcode::kLong1);
      text_ += '\10';
      raw(value);
    }
  }

  void string(std::string_view value) {
    op(PickleOpcode::kBinUnicode);
    raw(static_cast<std::uint32_t>(value.size()));
    text_ += value;
  }

  void global(std::string_view module, std::string_view name) {
    op(PickleOpcode::kGlobal);
    text_.append(module).append("\n").append(name).append("\n");
  }

  void integers(std::span<const std::int64_t> values) {
    op(PickleOpcode::kMark);
    for (const std::int64_t value : values) integer(value);
    op(PickleOpcode::kTuple);
  }

  void tensor(const TensorEntry& entry, std::string_view key) {
    global("torch._utils", "_rebuild_tensor_v2");
    op(PickleOpcode::kMark);
    op(PickleOpcode::kMark);
    string("storage");
    global("torch", storage_type(entry.dtype));
    string(key);
    string("cpu");
    integer(entry.num_elements());
    op(PickleOpcode::kTuple);
    op(PickleOpcode::kBinPersId);
    integer(0);
    integers(entry.shape);
    integers(contiguous_strides(entry.shape));
    op(PickleOpcode::kNewFalse);
    global("collections", "OrderedDict");
    op(PickleOpcode::kEmptyTuple);
    op(PickleOpcode::kReduce);
    op(PickleOpcode::kTuple);
    op(PickleOpcode::kReduce);
  }

  const std::string& str() const { return text_; }

 private:
  template <typename T>
  void raw(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  std::string text_;
};

// The group of a name: index into `groups`, or groups.size() for none.
std::size_t group_of(std::string_view name, std::span<const std::string> groups) {
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (name.size() > groups[i].size() && name.starts_with(groups[i]) &&
        name[groups[i].size()] == '.') {
      return i;
    }
  }
  return groups.size();
}

std::string pickle_text(std::span<const TensorEntry> entries, std::span<const std::string> groups) {
  PickleWriter pickle;
  pickle.op(PickleOpcode::kEmptyDict);
  pickle.op(PickleOpcode::kMark);
  for (std::size_t group = 0; group <= groups.size(); ++group) {
    const bool nested = group < groups.size();
    if (nested) {
      pickle.string(groups[group]);
      pickle.op(PickleOpcode::kEmptyDict);
      pickle.op(PickleOpcode::kMark);
    }
    const std::size_t skip = nested ? groups[group].size() + 1 : 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (group_of(entries[i].name, groups) != group) continue;
      pickle.string(std::string_view(entries[i].name).substr(skip));
      pickle.tensor(entries[i], std::to_string(i));
    }
    if (nested) pickle.op(PickleOpcode::kSetItems);
  }
  pickle.op(PickleOpcode::kSetItems);
  pickle.op(PickleOpcode::kStop);
  return pickle.str();
}

}  // namespace

void write_torch(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                 std::span<const std::string> groups) {
  write_torch(path, entries, groups,
              [](const TensorEntry& entry, const ByteSink& sink) { sink(entry.bytes); });
}

void write_torch(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                 std::span<const std::string> groups, const TensorFill& fill) {
  std::set<std::string_view> names;
  for (const TensorEntry& entry : entries) {
    MONARCH_CHECK(is_valid_utf8(entry.name) && names.insert(entry.name).second, "[monarch_io] ",
                  quote(entry.name), " is not valid UTF-8 or names two tensors");
  }
  const std::string pickle = pickle_text(entries, groups);
  AtomicFile file(path);
  ZipWriter zip(file);
  const std::string prefix = "archive/";
  zip.add(prefix + "data.pkl", pickle);
  zip.add(prefix + "byteorder", "little");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    zip.begin_entry(prefix + "data/" + std::to_string(i),
                    checked_num_bytes(entries[i].shape, entries[i].dtype));
    fill(entries[i], [&](std::span<const std::byte> bytes) { zip.append(bytes); });
    zip.end_entry();
  }
  zip.add(prefix + "version", "3\n");
  zip.finish();
  file.commit();
}

}  // namespace monarch::io
