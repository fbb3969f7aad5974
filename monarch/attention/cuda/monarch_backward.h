// Monarch attention on an NVIDIA GPU, backward, one refinement step: plan once per shape, run many
// times. Formulas and kernels: sm80/monarch_backward.cuh.
#pragma once

#include <cstddef>
#include <vector>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/monarch_backward_args.h"
#include "monarch/attention/cuda/monarch_geometry.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

// All in device memory, of one dtype, as MonarchForwardPlan::run() takes them.
struct MonarchBackwardTensors {
  ConstTensorView q;           // [B, Nq, H, D]
  ConstTensorView k;           // [B, Nkv, H, D]
  ConstTensorView v;           // [B, Nkv, H, D]
  ConstTensorView out;         // [B, Nq, H, D], of the forward
  ConstTensorView grad_out;    // [B, Nq, H, D]
  const float* lse = nullptr;  // [B, H, Nq], of the forward
  TensorView grad_q;
  TensorView grad_k;  // block order where k and v lie in it: a KV cache's gradient
  TensorView grad_v;
};

class MonarchBackwardPlan {
 public:
  // Throws as MonarchForwardPlan.
  MonarchBackwardPlan(const MonarchProblem& problem, const DeviceLimits& limits);

  // Device memory for run(): the gradients of a_L and Y of as many heads as fill the device.
  std::size_t workspace_bytes() const;

  // Overwrites the gradients. Queues the kernels on `stream` and returns: neither waits nor
  // allocates. The result is the same bit for bit every time.
  void run(const MonarchBackwardTensors& tensors, Workspace workspace, Stream stream) const;

  // What run() launches, one after another.
  std::vector<MonarchBackwardArgs> launches(const MonarchBackwardTensors& tensors,
                                            Workspace workspace) const;

 private:
  std::int64_t floats_a_unit() const;

  MonarchProblem problem_;
  MonarchBackwardArgs geometry_;  // without pointers
};

}  // namespace monarch::attention::cuda
