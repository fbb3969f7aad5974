#include "monarch/models/wan/sinusoid.h"

namespace monarch::models {

at::Tensor sinusoidal_embedding(const at::Tensor& t, int64_t freq_dim, at::ScalarType type) {
  const int64_t half = freq_dim / 2;
  const at::Tensor exponents =
      at::arange(half, t.options().dtype(at::kDouble)).div_(-static_cast<double>(half));
  const at::Tensor angles = t.to(at::kDouble).unsqueeze(-1) * at::pow(10000.0, exponents);
  return at::cat({angles.cos(), angles.sin()}, -1).to(type);
}

}  // namespace monarch::models
