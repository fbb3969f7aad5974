// Normalisation and modulation of the transformer's tokens.
#pragma once

#include <ATen/ATen.h>

namespace monarch::models {

// Layer norm without weight, then times (1 + scale) plus shift. x [B, N, C]; shift, scale
// [B, R, C]: the tokens form R equal runs and each run has its own modulation. R divides N.
at::Tensor modulated_layer_norm(const at::Tensor& x, const at::Tensor& shift,
                                const at::Tensor& scale, double eps);

// x + gate * y with x, y [B, N, C] and gate [B, R, C] as above. May reuse x's memory when no
// gradient is recorded: pass a tensor that is not needed afterwards.
at::Tensor gated_add(at::Tensor x, const at::Tensor& gate, const at::Tensor& y);

}  // namespace monarch::models
