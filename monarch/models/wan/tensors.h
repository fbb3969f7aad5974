// Checkpoint entries as Torch tensors, and products with weights of another type.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>

#include "monarch/io/checkpoint.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

at::ScalarType torch_type(DType dtype);
DType monarch_type(at::ScalarType type);

// A CPU tensor over the entry's bytes; `owner` is kept alive as long as the tensor. Misaligned
// entries are copied. Treat the result as read-only: the bytes may be a mapped file.
at::Tensor to_tensor(const io::TensorEntry& entry, std::shared_ptr<const io::Checkpoint> owner);

// All tensors of a checkpoint. Floating tensors are converted to `type` when given.
TensorMap to_tensors(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                     std::optional<at::ScalarType> type = {});

// The other way, for writing: entries point into contiguous CPU copies which `storage` keeps.
std::vector<io::TensorEntry> to_entries(const TensorMap& tensors, std::vector<at::Tensor>& storage);

// weight x + bias with x [..., in], weight [out, in], bias [out] or undefined. Weights stored in
// another type than x are converted for this call only.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// t in x's type and on its device; t itself when it is already so.
inline at::Tensor like(const at::Tensor& t, const at::Tensor& x) {
  return t.scalar_type() == x.scalar_type() && t.device() == x.device() ? t : t.to(x.options());
}

}  // namespace monarch::models
