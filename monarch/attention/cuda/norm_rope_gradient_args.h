// What the kernels of the backward in norm_rope.h are launched with.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda {

// Thread blocks, each with a partial sum of the weight's gradient: some waves on any device, and
// the same sums in the same order on all of them.
inline constexpr int kMaxWeightSums = 512;

struct NormRopeGradientArgs {
  Operand<const std::uint16_t> x;
  Operand<const std::uint16_t> grad_out;
  Operand<std::uint16_t> grad_x;
  const float* weight = nullptr;
  const float* rope = nullptr;
  const float* inverse_rms = nullptr;
  float* grad_weight = nullptr;
  float* sums = nullptr;  // [num_blocks, channels]
  int rows = 0;           // batches times tokens
  int tokens = 0;
  int channels = 0;
  int head_dim = 0;
  int num_blocks = 0;
};

}  // namespace monarch::attention::cuda
