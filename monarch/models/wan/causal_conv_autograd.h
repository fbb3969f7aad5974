// The CPU kernels as differentiable functions: float32 on the CPU, first derivatives only.
#pragma once

#include <ATen/ATen.h>

namespace monarch::models {

// Convolution with kernel taps x 3 x 3, padding 1 in space and none in time. Returns [B, F - taps +
// 1, H, W, out].
at::Tensor winograd_conv(const at::Tensor& frames,  // [B, F, H, W, in]
                         const at::Tensor& weight,  // [out, in, taps, 3, 3]
                         const at::Tensor& bias);   // [out]

// silu(x / max(|x|, 1e-12) * sqrt(C) * gamma), channels last.
at::Tensor norm_silu(const at::Tensor& x,       // [B, T, H, W, C]
                     const at::Tensor& gamma);  // [C]

}  // namespace monarch::models
