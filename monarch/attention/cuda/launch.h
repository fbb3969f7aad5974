// The way from plans to kernels; no_cuda/ has the same functions for builds without CUDA, and they
// throw kUnsupported.
#pragma once

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/modulate_args.h"
#include "monarch/attention/cuda/modulate_gradient_args.h"
#include "monarch/attention/cuda/monarch_backward_args.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"
#include "monarch/attention/cuda/norm_rope_args.h"
#include "monarch/attention/cuda/norm_rope_gradient_args.h"
#include "monarch/attention/cuda/step_gradient_args.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda {

// Queues the kernel and, with several splits, the merge. `dtype`: kBF16 or kF16.
void launch_monarch_forward(const MonarchForwardArgs& args, DType dtype, Stream stream);

// The same by the kernel for compute capability 9.0.
void launch_monarch_sm90(const MonarchSm90Args& args, DType dtype, Stream stream);

// Of 16-bit elements, boxes swizzled over 128 bytes, zeros outside the tensor. Throws kUnsupported
// if the driver cannot.
TensorMap encode_tensor_map(const TensorTiles& tiles, DType dtype);

// Queues the kernels of one group of heads.
void launch_monarch_backward(const MonarchBackwardArgs& args, DType dtype, Stream stream);

void launch_step_forward(const StepArgs& args, DType dtype, Stream stream);

void launch_step_backward(const StepGradientArgs& args, DType dtype, Stream stream);

void launch_norm_rope(const NormRopeArgs& args, DType dtype, Stream stream);

void launch_norm_rope_gradient(const NormRopeGradientArgs& args, DType dtype, Stream stream);

void launch_modulate(const ModulateArgs& args, DType dtype, Stream stream);

void launch_modulate_gradient(const ModulateGradientArgs& args, DType dtype, Stream stream);

}  // namespace monarch::attention::cuda
