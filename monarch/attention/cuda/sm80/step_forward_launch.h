// What the instantiations offer to the dispatch.
#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/step_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
void launch_step_forward(const StepArgs& args, Stream stream);

// One iteration, for the backward.
template <typename T, int kHeadDim>
void launch_step(const StepArgs& args, bool last, Stream stream);

}  // namespace monarch::attention::cuda::sm80
