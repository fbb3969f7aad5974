// The VAE's channel norm with its gradient in two passes over memory; composed of tensor operations
// it takes ten, and as long as the convolutions.
#pragma once

#include <ATen/ATen.h>

namespace monarch::training {

// x [N, C, H, W] channels-last float32, gamma [C] -> x / rms(x over C) * gamma, channels-last.
// Differentiable once.
at::Tensor channel_norm(const at::Tensor& x, const at::Tensor& gamma);

}  // namespace monarch::training
