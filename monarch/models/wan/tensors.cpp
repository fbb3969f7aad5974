#include "monarch/models/wan/tensors.h"

#include <utility>

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

constexpr std::pair<DType, at::ScalarType> kTypes[] = {
    {DType::kF64, at::kDouble},
    {DType::kF32, at::kFloat},
    {DType::kF16, at::kHalf},
    {DType::kBF16, at::kBFloat16},
    {DType::kF8E4M3, at::kFloat8_e4m3fn},
    {DType::kF8E5M2, at::kFloat8_e5m2},
    {DType::kI64, at::kLong},
    {DType::kI32, at::kInt},
    {DType::kI16, at::kShort},
    {DType::kI8, at::kChar},
    {DType::kU8, at::kByte},
    {DType::kBool, at::kBool},
};

}  // namespace

at::ScalarType torch_type(DType dtype) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == dtype) return theirs;
  }
  fail(ErrorCode::kInternal, "[monarch_models] a dtype has no Torch type");
}

DType monarch_type(at::ScalarType type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) return ours;
  }
  fail(ErrorCode::kUnsupported, "[monarch_models] tensors of type ", type, " cannot be stored");
}

at::Tensor to_tensor(const io::TensorEntry& entry, std::shared_ptr<const io::Checkpoint> owner) {
  const at::TensorOptions options(torch_type(entry.dtype));
  // from_blob wants a mutable pointer; the tensor is documented as read-only.
  void* data = const_cast<std::byte*>(entry.bytes.data());
  if (entry.num_elements() == 0) return at::empty(entry.shape, options);
  if (reinterpret_cast<std::uintptr_t>(data) % dtype_size(entry.dtype) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.data_ptr(), data, entry.bytes.size());
    return copy;
  }
  return at::from_blob(
      data, entry.shape, [owner = std::move(owner)](void*) {}, options);
}

TensorMap to_tensors(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                     std::optional<at::ScalarType> type) {
  TensorMap tensors;
  for (const io::TensorEntry& entry : checkpoint->tensors()) {
    at::Tensor tensor = to_tensor(entry, checkpoint);
    if (type && tensor.is_floating_point()) tensor = tensor.to(*type);
    tensors.emplace(entry.name, std::move(tensor));
  }
  return tensors;
}

std::vector<io::TensorEntry> to_entries(const TensorMap& tensors,
                                        std::vector<at::Tensor>& storage) {
  std::vector<io::TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& kept = storage.emplace_back(tensor.detach().cpu().contiguous());
    entries.push_back({.name = name,
                       .dtype = monarch_type(kept.scalar_type()),
                       .shape = kept.sizes().vec(),
                       .bytes = {static_cast<const std::byte*>(kept.const_data_ptr()),
                                 static_cast<size_t>(kept.nbytes())}});
  }
  return entries;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, like(weight, x), bias.defined() ? like(bias, x) : bias);
}

}  // namespace monarch::models
