// A non-owning view of a strided tensor: how data crosses the edge between Torch, files and the
// attention kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "monarch/base/dtype.h"
#include "monarch/base/error.h"

namespace monarch {

// Valid as long as the memory it points to; copyable; strides are in elements.
template <typename T>
struct BasicTensorView {
  T* data = nullptr;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;

  std::int64_t rank() const { return static_cast<std::int64_t>(shape.size()); }
  std::int64_t size(std::size_t axis) const { return shape[axis]; }
  std::int64_t num_elements() const {
    std::int64_t total = 1;
    for (const std::int64_t extent : shape) total *= extent;
    return total;
  }
};

using TensorView = BasicTensorView<void>;
using ConstTensorView = BasicTensorView<const void>;

// Row-major strides of a shape.
inline std::vector<std::int64_t> contiguous_strides(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;)
    strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

// Product of the extents times the element size, checked for negative extents and overflow: for
// shapes read from outside.
inline std::uint64_t checked_num_bytes(std::span<const std::int64_t> shape, DType dtype) {
  std::uint64_t total = dtype_size(dtype);
  for (const std::int64_t extent : shape) {
    MONARCH_CHECK_CODE(extent >= 0, kCorrupt, "[monarch_base] negative extent in shape ",
                       shape_string(shape));
    MONARCH_CHECK_CODE(!__builtin_mul_overflow(total, static_cast<std::uint64_t>(extent), &total),
                       kCorrupt, "[monarch_base] shape ", shape_string(shape),
                       " overflows 64 bits");
  }
  return total;
}

}  // namespace monarch
