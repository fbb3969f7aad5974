// Tensors, workspaces and sizes as the kernels take them, checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

inline constexpr std::string_view kRoom = "[monarch_attention] ";  // how every message starts

// A message to be quoted in another one.
std::string without_room(std::string_view message);

// Device memory.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// What all tensors of a call share.
struct Sizes {
  std::int64_t batch = 1;
  std::int64_t num_heads = 1;
  std::int64_t head_dim = 0;
  DType dtype = DType::kBF16;
};

// Throws unless the tensor is [B, tokens, H, D] of the dtype, BF16 or F16, 16-byte aligned with
// strides that are multiples of 8 elements.
Operand<const std::uint16_t> operand(const ConstTensorView& tensor, std::string_view name,
                                     std::int64_t tokens, const Sizes& sizes);
Operand<std::uint16_t> result(const TensorView& tensor, std::string_view name, std::int64_t tokens,
                              const Sizes& sizes);
// Throws unless the heads of a token of such a tensor follow one another.
void check_heads(const ConstTensorView& tensor, std::string_view name);
void check_workspace(const Workspace& workspace, std::size_t needed);

// For launches: thread blocks are counted in int.
int narrow(std::int64_t value, std::string_view what);

// The head_dim that kernels are compiled for: 64, 96 or 128. Throws kUnsupported for what they do
// not take.
int padded_head_dim(std::int64_t head_dim);

}  // namespace monarch::attention::cuda
