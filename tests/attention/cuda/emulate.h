// The CUDA kernels' launches on the emulated GPU.
#pragma once

#include "monarch/attention/cuda/modulate_args.h"
#include "monarch/attention/cuda/modulate_gradient_args.h"
#include "monarch/attention/cuda/monarch_backward_args.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"
#include "monarch/attention/cuda/norm_rope_args.h"
#include "monarch/attention/cuda/norm_rope_gradient_args.h"
#include "monarch/attention/cuda/step_gradient_args.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::test {

// `backwards`: thread blocks in the opposite order.
void emulate(const cuda::MonarchForwardArgs& args, DType dtype, bool backwards = false);
void emulate(const cuda::MonarchSm90Args& args, DType dtype, bool backwards = false);
void emulate(const cuda::MonarchBackwardArgs& args, DType dtype, bool backwards = false);
void emulate(const cuda::StepArgs& args, DType dtype, bool backwards = false);
void emulate(const cuda::StepGradientArgs& args, DType dtype, bool backwards = false);

void emulate(const cuda::NormRopeArgs& args, DType dtype);
void emulate(const cuda::NormRopeGradientArgs& args, DType dtype, bool backwards = false);
void emulate(const cuda::ModulateArgs& args, DType dtype);
void emulate(const cuda::ModulateGradientArgs& args, DType dtype, bool backwards = false);

// In place of the driver's.
cuda::TensorMap emulated_tensor_map(const cuda::TensorTiles& tiles);

}  // namespace monarch::attention::test
