// monarch/attention/norm_rope.h on an NVIDIA GPU: RMS norm, rotary embedding and the write into a
// KV cache of queries, keys and values in one kernel. Kernel: sm80/norm_rope.cuh.
#pragma once

#include <span>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/norm_rope_args.h"
#include "monarch/attention/norm_rope.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda {

inline constexpr int kMaxNormChannels = 6144;

// One to three passes over tensors in device memory, all BF16 or all F16, 16-byte aligned with
// strides and head_dim that are multiples of 8 elements, weights, rope and inverse_rms too in
// device memory. Queues the kernel on `stream` and returns: neither waits nor allocates.
void run_token_passes(std::span<const TokenPass> passes, double eps, Stream stream);

// What run_token_passes() launches.
NormRopeArgs norm_rope_args(std::span<const TokenPass> passes, double eps);

}  // namespace monarch::attention::cuda
