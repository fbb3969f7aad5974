#include "monarch/attention/cuda/tensors.h"

#include <cstdint>
#include <limits>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<int>::max();

}  // namespace

std::string without_room(std::string_view message) {
  return std::string(message.starts_with(kRoom) ? message.substr(kRoom.size()) : message);
}

std::string device_refusal() {
  try {
    current_device_limits();
  } catch (const Error& error) {
    return without_room(error.what());
  }
  return "";
}

int narrow(std::int64_t value, std::string_view what) {
  MONARCH_CHECK_CODE(value <= kMaxInt, kUnsupported, kRoom, "the CUDA kernels count ", what,
                     " up to 2^31 - 1; got ", value);
  return static_cast<int>(value);
}

Operand<const std::uint16_t> operand(const ConstTensorView& tensor, std::string_view name,
                                     std::int64_t tokens, const Sizes& sizes) {
  check_tensor(tensor, name, sizes.batch, tokens, sizes.num_heads, sizes.head_dim);
  MONARCH_CHECK_CODE(tensor.dtype == DType::kBF16 || tensor.dtype == DType::kF16, kUnsupported,
                     kRoom, name, " has dtype ", dtype_name(tensor.dtype),
                     "; the CUDA kernels take BF16 or F16");
  MONARCH_CHECK(tensor.dtype == sizes.dtype, kRoom, name, " has dtype ", dtype_name(tensor.dtype),
                " while q has ", dtype_name(sizes.dtype),
                "; the CUDA kernels take one dtype for all");
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data);
  MONARCH_CHECK(address % 16 == 0, kRoom, name, " begins ", address % 16,
                " bytes past a multiple of 16; the CUDA kernels copy 16 bytes at a time");
  for (std::size_t axis = 0; axis < 3; ++axis) {
    MONARCH_CHECK(tensor.strides[axis] % 8 == 0 || tensor.shape[axis] == 1, kRoom, name,
                  " has strides ", shape_string(tensor.strides),
                  "; the CUDA kernels need multiples of 8 elements: make it contiguous");
  }
  return {static_cast<const std::uint16_t*>(tensor.data), tensor.strides[0], tensor.strides[1],
          tensor.strides[2]};
}

Operand<std::uint16_t> result(const TensorView& tensor, std::string_view name, std::int64_t tokens,
                              const Sizes& sizes) {
  const Operand<const std::uint16_t> checked = operand(read_only(tensor), name, tokens, sizes);
  return {static_cast<std::uint16_t*>(tensor.data), checked.batch_stride, checked.token_stride,
          checked.head_stride};
}

void check_heads(const ConstTensorView& tensor, std::string_view name) {
  MONARCH_CHECK(tensor.strides[2] == tensor.size(3) || tensor.size(2) == 1, kRoom, name,
                " has strides ", shape_string(tensor.strides),
                "; the heads of a token must follow one another, ", tensor.size(3),
                " elements apart");
}

void check_workspace(const Workspace& workspace, std::size_t needed) {
  const std::size_t bytes = workspace.data == nullptr ? 0 : workspace.bytes;
  MONARCH_CHECK(bytes >= needed, kRoom, "the workspace has ", bytes, " bytes; this plan needs ",
                needed);
}

int padded_head_dim(std::int64_t head_dim) {
  MONARCH_CHECK_CODE(head_dim % 8 == 0 && head_dim <= 128, kUnsupported, kRoom, "head_dim is ",
                     head_dim, "; the CUDA kernels take multiples of 8 up to 128");
  return head_dim <= 64 ? 64 : head_dim <= 96 ? 96 : 128;
}

}  // namespace monarch::attention::cuda
