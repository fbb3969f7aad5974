#include "monarch/models/wan/norms.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/ops/modulate.h"

namespace monarch::models {
namespace {

// [B, N, C] -> [B, R, N/R, C]
at::Tensor runs_of(const at::Tensor& x, const at::Tensor& modulation) {
  const int64_t runs = modulation.size(1);
  MONARCH_CHECK(x.size(1) % runs == 0, "[monarch_models] ", x.size(1), " tokens do not split into ",
                runs, " runs, one for each timestep of a sample");
  return x.unflatten(1, {runs, x.size(1) / runs});
}

}  // namespace

at::Tensor modulated_layer_norm(const at::Tensor& x, const at::Tensor& shift,
                                const at::Tensor& scale, double eps) {
  if (ops::modulates(x, {shift, scale})) return ops::modulated_norm(x, shift, scale, eps);
  const at::Tensor factor = scale + 1;
  if (shift.size(0) == 1 && shift.size(1) == 1) {
    return at::layer_norm(x, {x.size(2)}, factor.flatten(), shift.flatten(), eps);
  }
  at::Tensor normed = runs_of(at::layer_norm(x, {x.size(2)}, {}, {}, eps), shift);
  if (!at::GradMode::is_enabled()) {
    return normed.mul_(factor.unsqueeze(2)).add_(shift.unsqueeze(2)).flatten(1, 2);
  }
  return at::addcmul(shift.unsqueeze(2), normed, factor.unsqueeze(2)).flatten(1, 2);
}

at::Tensor gated_add(at::Tensor x, const at::Tensor& gate, const at::Tensor& y) {
  if (ops::modulates(x, {gate, y})) return ops::gated_add(x, gate, y);
  if (!at::GradMode::is_enabled()) {
    runs_of(x, gate).addcmul_(runs_of(y, gate), gate.unsqueeze(2));
    return x;
  }
  return at::addcmul(runs_of(x, gate), runs_of(y, gate), gate.unsqueeze(2)).flatten(1, 2);
}

}  // namespace monarch::models
