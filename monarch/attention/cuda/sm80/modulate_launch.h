#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/modulate_args.h"
#include "monarch/attention/cuda/modulate_gradient_args.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda::sm80 {

void launch_modulate(const ModulateArgs& args, DType dtype, Stream stream);
void launch_modulate_gradient(const ModulateGradientArgs& args, DType dtype, Stream stream);

}  // namespace monarch::attention::cuda::sm80
