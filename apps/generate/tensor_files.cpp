#include "apps/generate/tensor_files.h"

#include <cstring>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"

namespace monarch::apps {
void save_tensors(const std::filesystem::path& path,
                  const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> kept;
  std::vector<io::TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) continue;
    kept.push_back(tensor.detach().to(at::kCPU, at::kFloat).contiguous());
    const at::Tensor& stored = kept.back();
    entries.push_back({name,
                       DType::kF32,
                       stored.sizes().vec(),
                       {static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()}});
  }
  io::write_safetensors(path, entries);
}

at::Tensor load_tensor(const std::filesystem::path& path, const std::string& name, bool required) {
  const auto file = io::open_safetensors(path);
  const io::TensorEntry* entry = file->find(name);
  if (entry == nullptr && !required) return {};
  MONARCH_CHECK_CODE(entry != nullptr, kNotFound, "[generate] ", path.string(), " has no tensor '",
                     name, "'");
  MONARCH_CHECK_CODE(entry->dtype == DType::kF32, kUnsupported, "[generate] '", name, "' in ",
                     path.string(), " is ", dtype_name(entry->dtype), "; F32 was expected");
  at::Tensor result = at::empty(entry->shape, at::kFloat);
  std::memcpy(result.data_ptr(), entry->bytes.data(), entry->bytes.size());
  return result;
}

}  // namespace monarch::apps
