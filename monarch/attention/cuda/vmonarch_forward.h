// VMonarch attention on an NVIDIA GPU, forward, any number of iterations: plan once per shape, run
// many times. Kernels: sm80/flash_rows.cuh and sm80/vmonarch_columns.cuh.
#pragma once

#include <cstddef>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/attention/cuda/vmonarch_forward_args.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

class VMonarchForwardPlan {
 public:
  // Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for a head_dim that
  // is not a multiple of 8 up to 128, too little shared memory, and more than 2^31 tokens or thread
  // blocks.
  VMonarchForwardPlan(const VMonarchProblem& problem, const DeviceLimits& limits);

  // Device memory for run(): two rows of head_dim in 16 bits a token and head, and two floats.
  std::size_t workspace_bytes() const;

  // q, k, v, out: [B, N, H, D] in device memory, all BF16 or all F16, 16-byte aligned with strides
  // that are multiples of 8 elements. Queues the kernels on `stream` and returns: neither waits nor
  // allocates. Keeps nothing for a backward.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, Workspace workspace, Stream stream) const;

  // What run() launches.
  VMonarchForwardArgs args(const ConstTensorView& q, const ConstTensorView& k,
                           const ConstTensorView& v, const TensorView& out,
                           Workspace workspace) const;

 private:
  VMonarchProblem problem_;
  VMonarchForwardArgs geometry_;  // without pointers
};

}  // namespace monarch::attention::cuda
