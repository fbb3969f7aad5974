// monarch/attention/norm_rope.h on an NVIDIA GPU: RMS norm, rotary embedding and the write into a
// KV cache of queries, keys and values in one kernel. Kernels: sm80/norm_rope.cuh and
// sm80/norm_rope_gradient.cuh.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/norm_rope_args.h"
#include "monarch/attention/cuda/norm_rope_gradient_args.h"
#include "monarch/attention/norm_rope.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda {

inline constexpr int kMaxNormChannels = 6144;

// Why a pass over tensors of this type and so many heads cannot run; empty if it can.
std::string token_pass_refusal(DType dtype, std::int64_t num_heads, std::int64_t head_dim);

// One to three passes over tensors in device memory, all BF16 or all F16, 16-byte aligned with
// strides and head_dim that are multiples of 8 elements, weights, rope and inverse_rms too in
// device memory. Queues the kernel on `stream` and returns: neither waits nor allocates.
void run_token_passes(std::span<const TokenPass> passes, double eps, Stream stream);

// The backward of one pass, its tensors, workspace and grad_weight likewise in device memory; the
// workspace has num_weight_sums() * H D floats. The result is the same bit for bit every time.
std::int64_t num_weight_sums(std::int64_t batch, std::int64_t tokens);
void run_token_pass_gradient(const TokenPassGradient& pass, Stream stream);

// What these launch.
NormRopeArgs norm_rope_args(std::span<const TokenPass> passes, double eps);
NormRopeGradientArgs norm_rope_gradient_args(const TokenPassGradient& pass);

}  // namespace monarch::attention::cuda
