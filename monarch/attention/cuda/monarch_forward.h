// Monarch attention on an NVIDIA GPU, forward, one refinement step: plan once per shape, run many
// times. Kernel and its costs: sm80/monarch_forward.cuh.
#pragma once

#include <cstddef>
#include <cstdint>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/monarch_geometry.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

class MonarchForwardPlan {
 public:
  // Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for num_iters > 1,
  // a head_dim that is not a multiple of 8 up to 128, blocks too wide for the shared memory of
  // `limits`, and more than 2^31 tokens or thread blocks.
  MonarchForwardPlan(const MonarchProblem& problem, const DeviceLimits& limits);

  // Device memory for run(); 0 where thread blocks suffice to fill the device. Otherwise the key
  // rows are split among `num_splits` of them, whose results are merged.
  std::size_t workspace_bytes() const;
  int num_splits() const { return geometry_.num_splits; }

  // q, k, v, out: [B, N, H, D] in device memory, all BF16 or all F16, 16-byte aligned with strides
  // that are multiples of 8 elements. `lse`: [B, H, Nq] in device memory or null: log-sum-exp of
  // each query's scores over (key block, block row). Queues the kernels on `stream` and returns:
  // neither waits nor allocates. Throws naming kernel and launch shape if the launch is refused.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, float* lse, Workspace workspace, Stream stream) const;

  // What run() launches.
  MonarchForwardArgs args(const ConstTensorView& q, const ConstTensorView& k,
                          const ConstTensorView& v, const TensorView& out, float* lse,
                          Workspace workspace) const;

 private:
  void choose_tiles(const DeviceLimits& limits);

  MonarchProblem problem_;
  MonarchForwardArgs geometry_;  // without pointers
  int resident_blocks_ = 1;      // thread blocks a multiprocessor runs at once
};

}  // namespace monarch::attention::cuda
