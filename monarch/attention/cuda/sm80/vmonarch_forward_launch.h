// What the instantiations offer to the dispatch.
#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/vmonarch_forward_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
void launch_vmonarch(const VMonarchForwardArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
