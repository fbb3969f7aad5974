// What a transformer layer does to its tokens besides attention and products, on an NVIDIA GPU, one
// kernel each. Kernels: sm80/modulate.cuh; backward: modulate_gradient.h.
//
// Tensors are [B, N, C] in device memory, all BF16 or all F16, sums in float; C is a multiple of 8
// up to 6,144, contiguous, other strides multiples of 8 elements, data 16-byte aligned. Shift,
// scale and gate are [B or 1, R, C]: the N tokens are R runs of equal length, each with its own.
// All calls queue their kernel on `stream` and return; out may be x itself.
#pragma once

#include <cstdint>
#include <string>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/modulate_args.h"
#include "monarch/base/tensor_view.h"

namespace monarch::attention::cuda {

// Why tensors of this type and so many channels cannot be taken; empty if they can. GELU takes any
// multiple of 8.
std::string modulate_refusal(ModulateKind kind, DType dtype, std::int64_t channels);

// out = (x - mean) / sqrt(variance + eps) * (1 + scale) + shift; mean and variance of a token.
struct ModulatedNorm {
  ConstTensorView x;
  ConstTensorView shift;
  ConstTensorView scale;
  TensorView out;
  double eps = 1e-6;
};
void run_modulated_norm(const ModulatedNorm& norm, Stream stream);

// out = x + gate * y
struct GatedAdd {
  ConstTensorView x;
  ConstTensorView gate;
  ConstTensorView y;
  TensorView out;
};
void run_gated_add(const GatedAdd& add, Stream stream);

// out = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), arXiv 1606.08415.
void run_gelu_tanh(const ConstTensorView& x, const TensorView& out, Stream stream);

// What these launch.
ModulateArgs modulate_args(const ModulatedNorm& norm);
ModulateArgs modulate_args(const GatedAdd& add);
ModulateArgs modulate_args(const ConstTensorView& x, const TensorView& out);

}  // namespace monarch::attention::cuda
