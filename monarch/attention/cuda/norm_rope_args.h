// What the kernel of norm_rope.h is launched with.
#pragma once

#include <array>
#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/layout.h"

namespace monarch::attention::cuda {

inline constexpr int kMaxTokenPasses = 3;  // q, k, v

struct NormRopePass {
  Operand<const std::uint16_t> x;
  Operand<std::uint16_t> out;
  const float* weight = nullptr;
  const float* rope = nullptr;
  float* inverse_rms = nullptr;
  int tokens = 0;
  int channels = 0;
  int head_dim = 0;
  std::int64_t first_block = 0;  // a thread block a token, batch by batch
  bool block_order = false;
  BlockLayout layout = {};
};

struct NormRopeArgs {
  std::array<NormRopePass, kMaxTokenPasses> passes;
  int num_passes = 0;
  std::int64_t num_blocks = 0;
  float eps = 0;
};

}  // namespace monarch::attention::cuda
