// What the instantiations offer to the dispatch.
#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/step_gradient_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
void launch_step_backward(const StepGradientArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
