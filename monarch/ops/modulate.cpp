#include "monarch/ops/modulate.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <span>

#include "monarch/attention/cuda/modulate.h"
#include "monarch/attention/cuda/modulate_gradient.h"
#include "monarch/base/error.h"
#include "monarch/ops/device.h"
#include "monarch/ops/kernels.h"
#include "monarch/ops/operator_handle.h"
#include "monarch/ops/tensor_views.h"

namespace monarch::ops {
namespace {

using attention::cuda::ModulateKind;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool kernels_take(ModulateKind kind, const at::Tensor& x) {
  if (!x.is_cuda() || x.dim() != 3 || !fits_kernels(x)) return false;
  if (!forced_refusal().empty() || !device_refusal(x.device()).empty()) return false;
  const std::optional<DType> dtype = float_dtype(x.scalar_type());
  if (!dtype) return false;
  const DeviceScope scope(x);
  return attention::cuda::modulate_refusal(kind, *dtype, x.size(2)).empty() &&
         attention::cuda::device_refusal().empty();
}

at::Tensor norm_kernel(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
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

void gated_add_kernel(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y,
                      const at::Tensor& out) {
  const DeviceScope scope(x);
  const at::Tensor gates = for_kernels(gate), added = for_kernels(y);
  attention::cuda::run_gated_add(
      {.x = const_view(x), .gate = const_view(gates), .y = const_view(added), .out = view(out)},
      scope.stream());
}
at::Tensor gated_add_to_new(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  gated_add_kernel(for_kernels(x), gate, y, out);
  return out;
}

void gelu_kernel(const at::Tensor& x, const at::Tensor& out) {
  const DeviceScope scope(x);
  attention::cuda::run_gelu_tanh(const_view(x), view(out), scope.stream());
}
at::Tensor gelu_to_new(const at::Tensor& x) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  gelu_kernel(for_kernels(x), out);
  return out;
}

// Floats for sums of gradients of `modulations` like this one.
at::Tensor modulation_sums(const at::Tensor& x, const at::Tensor& modulation, int64_t modulations) {
  return at::empty(
      {modulations, attention::cuda::num_modulation_sums(x.size(0), x.size(1), modulation.size(1)),
       x.size(2)},
      x.options().dtype(at::kFloat));
}
std::span<float> floats(const at::Tensor& t) {
  return {t.data_ptr<float>(), static_cast<size_t>(t.numel())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> norm_gradients(const at::Tensor& grad_out,
                                                              const at::Tensor& x,
                                                              const at::Tensor& scale, double eps) {
  const DeviceScope scope(x);
  const at::Tensor tokens = for_kernels(x), scales = for_kernels(scale),
                   gradient = for_kernels(grad_out), sums = modulation_sums(x, scale, 2);
  at::Tensor grad_x = at::empty(x.sizes(), x.options());
  at::Tensor grad_shift = at::empty(scale.sizes(), scale.options());
  at::Tensor grad_scale = at::empty(scale.sizes(), scale.options());
  attention::cuda::run_modulated_norm_gradient({.x = const_view(tokens),
                                                .scale = const_view(scales),
                                                .grad_out = const_view(gradient),
                                                .grad_x = view(grad_x),
                                                .grad_shift = view(grad_shift),
                                                .grad_scale = view(grad_scale),
                                                .eps = eps,
                                                .workspace = floats(sums)},
                                               scope.stream());
  return {grad_x, grad_shift, grad_scale};
}

std::tuple<at::Tensor, at::Tensor> gated_add_gradients(const at::Tensor& grad_out,
                                                       const at::Tensor& gate,
                                                       const at::Tensor& y) {
  const DeviceScope scope(y);
  const at::Tensor gates = for_kernels(gate), added = for_kernels(y),
                   gradient = for_kernels(grad_out), sums = modulation_sums(y, gate, 1);
  at::Tensor grad_gate = at::empty(gate.sizes(), gate.options());
  at::Tensor grad_y = at::empty(y.sizes(), y.options());
  attention::cuda::run_gated_add_gradient({.gate = const_view(gates),
                                           .y = const_view(added),
                                           .grad_out = const_view(gradient),
                                           .grad_gate = view(grad_gate),
                                           .grad_y = view(grad_y),
                                           .workspace = floats(sums)},
                                          scope.stream());
  return {grad_gate, grad_y};
}

at::Tensor gelu_gradient(const at::Tensor& grad_out, const at::Tensor& x) {
  const DeviceScope scope(x);
  const at::Tensor tokens = for_kernels(x), gradient = for_kernels(grad_out);
  at::Tensor grad_x = at::empty(x.sizes(), x.options());
  attention::cuda::run_gelu_tanh_gradient(
      {.x = const_view(tokens), .grad_out = const_view(gradient), .grad_x = view(grad_x)},
      scope.stream());
  return grad_x;
}

const auto& norm_operator() {
  static const auto handle =
      operator_named<decltype(norm_kernel)>("monarch::modulated_norm_forward");
  return handle;
}
const auto& gated_add_operator() {
  static const auto handle =
      operator_named<decltype(gated_add_to_new)>("monarch::gated_add_forward");
  return handle;
}
const auto& gelu_operator() {
  static const auto handle = operator_named<decltype(gelu_to_new)>("monarch::gelu_tanh_forward");
  return handle;
}

struct ModulatedNorm : torch::autograd::Function<ModulatedNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& shift,
                            const at::Tensor& scale, double eps) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({x, scale});
    context->saved_data["eps"] = eps;
    return norm_operator().call(x, shift, scale, eps);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto handle =
        operator_named<decltype(norm_gradients)>("monarch::modulated_norm_backward");
    const variable_list saved = context->get_saved_variables();
    const auto [grad_x, grad_shift, grad_scale] =
        handle.call(grads[0], saved[0], saved[1], context->saved_data["eps"].toDouble());
    return {grad_x, grad_shift, grad_scale, {}};
  }
};

struct GatedAdd : torch::autograd::Function<GatedAdd> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate,
                            const at::Tensor& y) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({gate, y});
    return gated_add_operator().call(x, gate, y);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto handle =
        operator_named<decltype(gated_add_gradients)>("monarch::gated_add_backward");
    const variable_list saved = context->get_saved_variables();
    const auto [grad_gate, grad_y] = handle.call(grads[0], saved[0], saved[1]);
    return {grads[0], grad_gate, grad_y};
  }
};

struct GeluTanh : torch::autograd::Function<GeluTanh> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({x});
    return gelu_operator().call(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto handle =
        operator_named<decltype(gelu_gradient)>("monarch::gelu_tanh_backward");
    return {handle.call(grads[0], context->get_saved_variables()[0])};
  }
};

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
  MONARCH_CHECK(shift.sizes() == scale.sizes(), "[monarch_ops] shift is ",
                shape_string(shift.sizes()), " and scale ", shape_string(scale.sizes()),
                "; modulated_norm needs them of one shape");
  return norm_operator().call(x, shift, scale, eps);
}

at::Tensor gated_add(at::Tensor x, const at::Tensor& gate, const at::Tensor& y) {
  if (at::GradMode::is_enabled()) return gated_add_operator().call(x, gate, y);
  gated_add_kernel(x, gate, y, x);
  return x;
}

at::Tensor gelu_tanh(at::Tensor x) {
  if (at::GradMode::is_enabled()) return gelu_operator().call(x);
  gelu_kernel(x, x);
  return x;
}

TORCH_LIBRARY_FRAGMENT(monarch, library) {
  library.def("modulated_norm_forward(Tensor x, Tensor shift, Tensor scale, float eps) -> Tensor");
  library.def(
      "modulated_norm_backward(Tensor grad_out, Tensor x, Tensor scale, float eps) -> "
      "(Tensor grad_x, Tensor grad_shift, Tensor grad_scale)");
  library.def("gated_add_forward(Tensor x, Tensor gate, Tensor y) -> Tensor");
  library.def(
      "gated_add_backward(Tensor grad_out, Tensor gate, Tensor y) -> "
      "(Tensor grad_gate, Tensor grad_y)");
  library.def("gelu_tanh_forward(Tensor x) -> Tensor");
  library.def("gelu_tanh_backward(Tensor grad_out, Tensor x) -> Tensor");
}

TORCH_LIBRARY_IMPL(monarch, CUDA, library) {
  library.impl("modulated_norm_forward", norm_kernel);
  library.impl("modulated_norm_backward", norm_gradients);
  library.impl("gated_add_forward", gated_add_to_new);
  library.impl("gated_add_backward", gated_add_gradients);
  library.impl("gelu_tanh_forward", gelu_to_new);
  library.impl("gelu_tanh_backward", gelu_gradient);
}

TORCH_LIBRARY_IMPL(monarch, Autograd, library) {
  library.impl("modulated_norm_forward",
               [](const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                  double eps) { return ModulatedNorm::apply(x, shift, scale, eps); });
  library.impl("gated_add_forward",
               [](const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
                 return GatedAdd::apply(x, gate, y);
               });
  library.impl("gelu_tanh_forward", [](const at::Tensor& x) { return GeluTanh::apply(x); });
}

}  // namespace monarch::ops
