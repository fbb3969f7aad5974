// The backward of modulate.h: one kernel each, and a second one where gradients of a modulation are
// sums over tokens. Kernels: sm80/modulate_gradient.cuh.
//
// Tensors as there; gradients have the shapes and types of what they are gradients of. The results
// are the same bit for bit every time.
#pragma once

#include <cstdint>
#include <span>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/modulate_gradient_args.h"
#include "monarch/base/tensor_view.h"

namespace monarch::attention::cuda {

// Rows of C floats in a workspace for the gradient of one modulation of `runs` rows.
std::int64_t num_modulation_sums(std::int64_t batch, std::int64_t tokens, std::int64_t runs);

// Mean and variance are computed from x again. The workspace has 2 num_modulation_sums() C floats.
struct ModulatedNormGradient {
  ConstTensorView x;
  ConstTensorView scale;
  ConstTensorView grad_out;
  TensorView grad_x;
  TensorView grad_shift;
  TensorView grad_scale;
  double eps = 1e-6;
  std::span<float> workspace = {};
};
void run_modulated_norm_gradient(const ModulatedNormGradient& norm, Stream stream);

// Of y and gate; the gradient of x is grad_out. The workspace has num_modulation_sums() C floats.
struct GatedAddGradient {
  ConstTensorView gate;
  ConstTensorView y;
  ConstTensorView grad_out;
  TensorView grad_gate;
  TensorView grad_y;
  std::span<float> workspace = {};
};
void run_gated_add_gradient(const GatedAddGradient& add, Stream stream);

struct GeluTanhGradient {
  ConstTensorView x;
  ConstTensorView grad_out;
  TensorView grad_x;
};
void run_gelu_tanh_gradient(const GeluTanhGradient& gelu, Stream stream);

// What these launch.
ModulateGradientArgs modulate_gradient_args(const ModulatedNormGradient& norm);
ModulateGradientArgs modulate_gradient_args(const GatedAddGradient& add);
ModulateGradientArgs modulate_gradient_args(const GeluTanhGradient& gelu);

}  // namespace monarch::attention::cuda
