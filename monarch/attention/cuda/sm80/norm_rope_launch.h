#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/norm_rope_args.h"
#include "monarch/attention/cuda/norm_rope_gradient_args.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda::sm80 {

void launch_norm_rope(const NormRopeArgs& args, DType dtype, Stream stream);
void launch_norm_rope_gradient(const NormRopeGradientArgs& args, DType dtype, Stream stream);

}  // namespace monarch::attention::cuda::sm80
