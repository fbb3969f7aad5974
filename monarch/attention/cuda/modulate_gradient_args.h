// What the kernels of modulate_gradient.h are launched with.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/modulate_args.h"

namespace monarch::attention::cuda {

// Thread blocks that add up gradients of a modulation, unless there are more runs of tokens: some
// waves on any device, and the same sums in the same order on all of them.
inline constexpr int kMaxModulationSums = 512;

struct ModulateGradientArgs {
  ModulateKind kind = ModulateKind::kGelu;
  Rows<const std::uint16_t> x;  // of the gated add: y
  Rows<const std::uint16_t> grad_out;
  Rows<const std::uint16_t> scale;  // or gate
  Rows<std::uint16_t> grad_x;       // or grad_y
  Rows<std::uint16_t> grad_scale;   // or grad_gate
  Rows<std::uint16_t> grad_shift;
  float* sums = nullptr;  // [1 or, with a shift, 2; batch, runs, parts, channels]
  int batch = 1;
  int tokens = 0;
  int channels = 0;
  int runs = 1;
  int run_tokens = 1;
  int parts = 1;              // thread blocks for a run
  int modulated_batches = 1;  // `batch`, or 1: one modulation for all
  float eps = 0;
  std::int64_t num_blocks = 0;
  std::int64_t num_sum_blocks = 0;  // of the kernel that adds the parts
};

}  // namespace monarch::attention::cuda
