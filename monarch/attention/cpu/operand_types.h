// Tensors as the kernels take them.
#pragma once

#include <cstdint>

#include "monarch/base/dtype.h"

namespace monarch::attention::cpu {

// [B, N, H, D], head_dim contiguous; strides in elements.
template <typename T>
struct BasicOperand {
  T* data = nullptr;
  DType dtype = DType::kF32;  // F32, BF16 or F16
  std::int64_t batch_stride = 0;
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;
};
using Operand = BasicOperand<const void>;
using Result = BasicOperand<void>;

}  // namespace monarch::attention::cpu
