#include "monarch/training/checkpoint.h"

#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"

namespace monarch::training {
namespace {

DType to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return DType::kF64;
    case at::kFloat: return DType::kF32;
    case at::kHalf: return DType::kF16;
    case at::kBFloat16: return DType::kBF16;
    case at::kLong: return DType::kI64;
    case at::kByte: return DType::kU8;
    default:
      fail(ErrorCode::kUnsupported, "[monarch_training] cannot save tensors of type ",
           at::toString(type));
  }
}

at::ScalarType to_scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kF64: return at::kDouble;
    case DType::kF32: return at::kFloat;
    case DType::kF16: return at::kHalf;
    case DType::kBF16: return at::kBFloat16;
    case DType::kI64: return at::kLong;
    case DType::kU8: return at::kByte;
    default:
      fail(ErrorCode::kUnsupported, "[monarch_training] cannot load tensors of type ",
           dtype_name(dtype));
  }
}

}  // namespace

void save_tensors(const std::filesystem::path& path, const models::TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<at::Tensor> kept;  // contiguous copies live until written
  std::vector<io::TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    kept.push_back(tensor.detach().contiguous());
    const at::Tensor& flat = kept.back();
    entries.push_back({name,
                       to_dtype(flat.scalar_type()),
                       flat.sizes().vec(),
                       {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()}});
  }
  io::write_safetensors(path, entries, metadata);
}

TrainingState load_tensors(const std::filesystem::path& path) {
  const auto file = io::open_safetensors(path);
  TrainingState state;
  state.metadata = file->metadata();
  for (const io::TensorEntry& entry : file->tensors()) {
    at::Tensor tensor = at::empty(entry.shape, to_scalar_type(entry.dtype));
    std::copy(entry.bytes.begin(), entry.bytes.end(), static_cast<std::byte*>(tensor.data_ptr()));
    state.tensors[entry.name] = tensor;
  }
  return state;
}

models::TensorMap take_prefix(const models::TensorMap& tensors, const std::string& prefix) {
  models::TensorMap result;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) result[name.substr(prefix.size())] = tensor;
  }
  return result;
}

models::TensorMap add_prefix(const models::TensorMap& tensors, const std::string& prefix) {
  models::TensorMap result;
  for (const auto& [name, tensor] : tensors) result[prefix + name] = tensor;
  return result;
}

models::TensorMap cast_tensors(const models::TensorMap& tensors, at::ScalarType dtype) {
  models::TensorMap result;
  for (const auto& [name, tensor] : tensors) {
    result[name] = tensor.is_floating_point() ? tensor.detach().to(dtype) : tensor.detach();
  }
  return result;
}

}  // namespace monarch::training
