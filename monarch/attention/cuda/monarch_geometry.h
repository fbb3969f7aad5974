// What the plans of all Monarch kernels share: the sizes of a problem, checked, and its tensors.
#pragma once

#include <cstddef>
#include <string_view>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

// Device memory.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for num_iters > 1, a
// head_dim that is not a multiple of 8 up to 128, and 2^31 tokens.
MonarchForwardArgs monarch_geometry(const MonarchProblem& problem);

// Sets step_rows and stages to the most that `limit` bytes of shared memory hold: two key rows a
// step (twice the work between barriers) before more pieces in flight. False if nothing fits.
bool choose_ring(MonarchForwardArgs& args, int limit);
[[noreturn]] void refuse_block_cols(const MonarchForwardArgs& args, std::uint32_t needed,
                                    int limit);

// Throws unless the tensor is [B, tokens, H, D] of `dtype`, BF16 or F16, 16-byte aligned with
// strides that are multiples of 8 elements.
Operand<const std::uint16_t> operand(const ConstTensorView& tensor, std::string_view name,
                                     DType dtype, std::int64_t tokens,
                                     const MonarchProblem& problem);
Operand<std::uint16_t> result(const TensorView& tensor, std::string_view name, DType dtype,
                              std::int64_t tokens, const MonarchProblem& problem);
void check_workspace(const Workspace& workspace, std::size_t needed);

// For launches: thread blocks are counted in int.
int narrow(std::int64_t value, std::string_view what);

}  // namespace monarch::attention::cuda
