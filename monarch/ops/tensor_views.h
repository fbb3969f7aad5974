// Torch tensors as the views that the attention room takes.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "monarch/base/tensor_view.h"

namespace monarch::ops {

// Of the floating types that attention knows.
inline std::optional<DType> float_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return DType::kF64;
    case at::kFloat: return DType::kF32;
    case at::kHalf: return DType::kF16;
    case at::kBFloat16: return DType::kBF16;
    default: return std::nullopt;
  }
}

// Valid while the tensor lives. The tensor has one of the types above.
inline TensorView view(const at::Tensor& t) {
  return {.data = t.data_ptr(),
          .dtype = float_dtype(t.scalar_type()).value(),
          .shape = t.sizes().vec(),
          .strides = t.strides().vec()};
}
inline ConstTensorView const_view(const at::Tensor& t) {
  return {.data = t.const_data_ptr(),
          .dtype = float_dtype(t.scalar_type()).value(),
          .shape = t.sizes().vec(),
          .strides = t.strides().vec()};
}

// The same tensor, its sizes known. The kernels' problems are made of numbers, so whatever traces
// operators with symbols for sizes (torch.compile with dynamic shapes) has to fix them.
inline at::Tensor with_known_sizes(const at::Tensor& t) {
  if (!t.defined() || !t.unsafeGetTensorImpl()->has_symbolic_sizes_strides()) return t;
  std::vector<int64_t> sizes;
  for (const c10::SymInt& size : t.sym_sizes()) sizes.push_back(size.guard_int(__FILE__, __LINE__));
  return at::empty(sizes, t.options()).copy_(t);
}

}  // namespace monarch::ops
