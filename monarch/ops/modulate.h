// What a transformer layer does to its tokens besides attention and products, each in one kernel of
// a GPU (monarch/attention/cuda/modulate.h). Where the kernels cannot, callers have Torch's
// operators.
#pragma once

#include <ATen/ATen.h>

#include <initializer_list>

namespace monarch::ops {

// Whether the kernels take tokens x [B, N, C] and modulations of them, [B or 1, R, C] with R runs
// of tokens: on a GPU that has the kernels, of one 16-bit type.
bool modulates(const at::Tensor& x, std::initializer_list<at::Tensor> modulations);
bool takes_gelu(const at::Tensor& x);

// These can be differentiated once. While no gradient is recorded, the last two reuse x's memory:
// pass a tensor that is not needed afterwards.

// layer_norm(x) * (1 + scale) + shift; shift and scale of one shape.
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                          double eps);

// x + gate * y.
at::Tensor gated_add(at::Tensor x, const at::Tensor& gate, const at::Tensor& y);

// gelu(x) by its tanh formula.
at::Tensor gelu_tanh(at::Tensor x);

}  // namespace monarch::ops
