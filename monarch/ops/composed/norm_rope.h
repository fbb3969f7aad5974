// RMS norm and rotary embedding composed of Torch operators: see monarch/ops/norm_rope.h.
#pragma once

#include <ATen/ATen.h>

namespace monarch::ops::composed {

// x [..., C], weight [C]
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// x [B, N, H, D], rope [N, D/2] complex
at::Tensor apply_rope(const at::Tensor& x, const at::Tensor& rope);

}  // namespace monarch::ops::composed
