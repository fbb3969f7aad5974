// Monarch attention of any number of iterations on an NVIDIA GPU, forward: VMonarch, and MonarchRT
// where one iteration (monarch_forward.h) is not enough. Plan once per shape, run many times.
// Kernels: sm80/flash_rows.cuh and sm80/step_columns.cuh.
#pragma once

#include <cstddef>
#include <vector>

#include "monarch/attention/cuda/step_geometry.h"

namespace monarch::attention::cuda {

class StepForwardPlan {
 public:
  // Throws as step_geometry(), and kUnsupported where shared memory is too little.
  StepForwardPlan(const StepProblem& problem, const DeviceLimits& limits);

  // Device memory for run(): of as many heads as fill the device, for each query block and key
  // token two rows of head_dim in 16 bits and a float, and a float a query.
  std::size_t workspace_bytes() const;

  // q, k, v, out: [B, N, H, D] in device memory, all BF16 or all F16, 16-byte aligned with strides
  // that are multiples of 8 elements. `lse`: [B, H, Nq] in device memory or null: log-sum-exp of
  // each query's last softmax. Queues the kernels on `stream` and returns: neither waits nor
  // allocates.
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, float* lse, Workspace workspace, Stream stream) const;

  // What run() launches, one after another.
  std::vector<StepArgs> launches(const ConstTensorView& q, const ConstTensorView& k,
                                 const ConstTensorView& v, const TensorView& out, float* lse,
                                 Workspace workspace) const;

 private:
  StepProblem problem_;
  StepArgs geometry_;  // without pointers
};

}  // namespace monarch::attention::cuda
