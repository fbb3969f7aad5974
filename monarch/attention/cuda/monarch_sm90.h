// Monarch attention on an NVIDIA GPU of compute capability 9.0, forward, one refinement step, by
// the kernel of sm90/monarch_forward.cuh. Not measured on hardware yet.
#pragma once

#include <cstddef>
#include <functional>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

class MonarchSm90Plan {
 public:
  // Throws as MonarchForwardPlan does, and kUnsupported for another compute capability and blocks
  // that are not 33 to 64 columns wide (sm90/tiles.h).
  MonarchSm90Plan(const MonarchProblem& problem, const DeviceLimits& limits);

  // Of all that follows as of MonarchForwardPlan's.
  std::size_t workspace_bytes() const;
  int num_splits() const { return geometry_.forward.num_splits; }
  void run(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
           const TensorView& out, float* lse, Workspace workspace, Stream stream) const;

  // What run() launches; `encode` makes tensor maps.
  using Encode = std::function<TensorMap(const TensorTiles& tiles)>;
  MonarchSm90Args args(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
                       const TensorView& out, float* lse, Workspace workspace,
                       const Encode& encode) const;

 private:
  void choose_cluster();

  MonarchProblem problem_;
  MonarchSm90Args geometry_;  // without pointers
};

}  // namespace monarch::attention::cuda
