#include "monarch/io/checkpoint.h"

#include <cstring>

#include "monarch/base/error.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

// Elements may be misaligned in the file, hence memcpy.
template <typename Stored, typename Out, typename Convert>
std::vector<Out> convert_elements(const TensorEntry& tensor, Convert convert) {
  std::vector<Out> out(tensor.bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = convert(value);
  }
  return out;
}

template <typename Stored, typename Out>
std::vector<Out> cast_elements(const TensorEntry& tensor) {
  return convert_elements<Stored, Out>(tensor, [](Stored v) { return static_cast<Out>(v); });
}

template <typename Out>
std::vector<Out> integers(const TensorEntry& tensor) {
  switch (tensor.dtype) {
    case DType::kI64: return cast_elements<std::int64_t, Out>(tensor);
    case DType::kI32: return cast_elements<std::int32_t, Out>(tensor);
    case DType::kI16: return cast_elements<std::int16_t, Out>(tensor);
    case DType::kI8: return cast_elements<std::int8_t, Out>(tensor);
    case DType::kU8: return cast_elements<std::uint8_t, Out>(tensor);
    case DType::kBool:
      return convert_elements<std::uint8_t, Out>(tensor,
                                                 [](std::uint8_t v) { return Out(v != 0); });
    default: break;
  }
  fail(ErrorCode::kInvalidArgument, "[monarch_io] tensor ", quote(tensor.name), " is ",
       dtype_name(tensor.dtype), "; an integer or bool tensor was expected");
}

}  // namespace

std::int64_t TensorEntry::num_elements() const {
  std::int64_t total = 1;
  for (const std::int64_t extent : shape) total *= extent;
  return total;
}

const TensorEntry* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void Checkpoint::set_tensors(std::vector<TensorEntry> tensors, const std::string& where) {
  tensors_ = std::move(tensors);
  index_.clear();
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    MONARCH_CHECK_CODE(index_.emplace(tensors_[i].name, i).second, kCorrupt, "[monarch_io] ", where,
                       ": tensor ", quote(tensors_[i].name), " occurs twice");
  }
}

std::vector<double> to_doubles(const TensorEntry& tensor) {
  switch (tensor.dtype) {
    case DType::kF64: return cast_elements<double, double>(tensor);
    case DType::kF32: return cast_elements<float, double>(tensor);
    case DType::kF16:
      return convert_elements<std::uint16_t, double>(
          tensor, [](std::uint16_t bits) { return static_cast<double>(f16_to_f32(bits)); });
    case DType::kBF16:
      return convert_elements<std::uint16_t, double>(
          tensor, [](std::uint16_t bits) { return static_cast<double>(bf16_to_f32(bits)); });
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      fail(ErrorCode::kUnsupported, "[monarch_io] tensor ", quote(tensor.name), " is ",
           dtype_name(tensor.dtype), ", which cannot be converted to numbers here");
    default: return integers<double>(tensor);
  }
}

std::vector<std::int64_t> to_int64s(const TensorEntry& tensor) {
  return integers<std::int64_t>(tensor);
}

}  // namespace monarch::io
