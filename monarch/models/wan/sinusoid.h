#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace monarch::models {

// Sinusoidal embedding of timesteps t [...] -> [..., freq_dim], in `type`: cosines of t *
// 10000^(-k / (freq_dim/2)) for all k, then the sines; float64 until the final cast.
at::Tensor sinusoidal_embedding(const at::Tensor& t, int64_t freq_dim, at::ScalarType type);

}  // namespace monarch::models
