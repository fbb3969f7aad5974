#include "monarch/ops/modulate.h"

#include <algorithm>

#include "monarch/attention/cuda/modulate.h"
#include "monarch/ops/device.h"
#include "monarch/ops/kernels.h"
#include "monarch/ops/tensor_views.h"

namespace monarch::ops {
namespace {

using attention::cuda::ModulateKind;

bool kernels_take(ModulateKind kind, const at::Tensor& x) {
  if (!x.is_cuda() || at::GradMode::is_enabled() || x.dim() != 3 || !fits_kernels(x)) return false;
  if (!forced_refusal().empty() || !device_refusal(x.device()).empty()) return false;
  const std::optional<DType> dtype = float_dtype(x.scalar_type());
  if (!dtype) return false;
  const DeviceScope scope(x);
  return attention::cuda::modulate_refusal(kind, *dtype, x.size(2)).empty() &&
         attention::cuda::device_refusal().empty();
}

}  // namespace

bool modulates(const at::Tensor& x, std::initializer_list<at::Tensor> modulations) {
  if (!kernels_take(ModulateKind::kNorm, x)) return false;
  return std::ranges::all_of(modulations, [&](const at::Tensor& m) {
    return m.dim() == 3 && m.device() == x.device() && m.scalar_type() == x.scalar_type() &&
           (m.size(0) == 1 || m.size(0) == x.size(0)) && x.size(1) % m.size(1) == 0;
  });
}

bool takes_gelu(const at::Tensor& x) { return kernels_take(ModulateKind::kGelu, x); }

at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                          double eps) {
  const DeviceScope scope(x);
  const at::Tensor tokens = for_kernels(x), shifts = for_kernels(shift),
                   scales = for_kernels(scale);
  at::Tensor out = at::empty(x.sizes(), x.options());
  attention::cuda::run_modulated_norm({.x = const_view(tokens),
                                       .shift = const_view(shifts),
                                       .scale = const_view(scales),
                                       .out = view(out),
                                       .eps = eps},
                                      scope.stream());
  return out;
}

void add_gated(at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
  const DeviceScope scope(x);
  const at::Tensor gates = for_kernels(gate), added = for_kernels(y);
  attention::cuda::run_gated_add(
      {.x = const_view(x), .gate = const_view(gates), .y = const_view(added), .out = view(x)},
      scope.stream());
}

void gelu_in_place(at::Tensor& x) {
  const DeviceScope scope(x);
  attention::cuda::run_gelu_tanh(const_view(x), view(x), scope.stream());
}

}  // namespace monarch::ops
