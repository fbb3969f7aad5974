// What the instantiations offer to the dispatch.
#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"

namespace monarch::attention::cuda::sm90 {

template <typename T, int kHeadDim, int kRowFragments>
void launch(const MonarchSm90Args& args, Stream stream);

}  // namespace monarch::attention::cuda::sm90
