// The backward of step_forward.h. Formulas and kernels: sm80/step_column_gradients.cuh,
// sm80/row_query_gradients.cuh and sm80/row_key_gradients.cuh.
#pragma once

#include <cstddef>
#include <vector>

#include "monarch/attention/cuda/monarch_backward.h"
#include "monarch/attention/cuda/step_geometry.h"
#include "monarch/attention/cuda/step_gradient_args.h"

namespace monarch::attention::cuda {

class StepBackwardPlan {
 public:
  // Throws as StepForwardPlan.
  StepBackwardPlan(const StepProblem& problem, const DeviceLimits& limits);

  // Device memory for run(): all iterations of as many heads as fill the device, recomputed, and
  // their gradients.
  std::size_t workspace_bytes() const;

  // Overwrites the gradients; out and lse are looked at where the first frame is recomputed. Queues
  // the kernels on `stream` and returns: neither waits nor allocates. The result is the same bit
  // for bit every time.
  void run(const MonarchBackwardTensors& tensors, Workspace workspace, Stream stream) const;

  // What run() launches, one after another.
  std::vector<StepGradientArgs> launches(const MonarchBackwardTensors& tensors,
                                         Workspace workspace) const;

 private:
  // Sets the pointers into memory from `base` on; returns the bytes it takes.
  std::size_t place(std::byte* base, StepGradientArgs& args) const;

  StepProblem problem_;
  StepArgs geometry_;  // without pointers
};

}  // namespace monarch::attention::cuda
