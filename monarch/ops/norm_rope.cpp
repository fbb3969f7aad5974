#include "monarch/ops/norm_rope.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <span>

#include "monarch/attention/cuda/norm_rope.h"
#include "monarch/attention/norm_rope.h"
#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/composed/norm_rope.h"
#include "monarch/ops/device.h"
#include "monarch/ops/kernels.h"
#include "monarch/ops/operator_handle.h"
#include "monarch/ops/parallel.h"
#include "monarch/ops/tensor_views.h"
#include "monarch/ops/usage.h"

namespace monarch::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kLabel = "norm-rope";
constexpr const char* kCudaKernels = "cuda-sm80";

const float* floats_or_null(const std::optional<at::Tensor>& t) {
  return t && t->defined() ? t->const_data_ptr<float>() : nullptr;
}

std::optional<at::Tensor> optional(const at::Tensor& t) {
  return t.defined() ? std::optional(t) : std::nullopt;
}

// With the channels of a token in one row.
at::Tensor with_rows(const at::Tensor& x) {
  const bool in_row = x.stride(3) == 1 && (x.stride(2) == x.size(3) || x.size(2) == 1);
  return for_kernels(in_row ? x : x.contiguous());
}

int num_threads() { return static_cast<int>(num_task_threads()); }

// The passes where `x` lies; says what ran them.
std::string run_passes(const at::Tensor& x, std::span<const attention::TokenPass> passes,
                       double eps) {
  const DeviceScope scope(x);
  if (scope.device() == attention::Device::kCuda) {
    attention::cuda::run_token_passes(passes, eps, scope.stream());
    return kCudaKernels;
  }
  attention::run_token_passes(passes, eps, num_threads(), torch_loop);
  return attention::token_pass_implementation();
}

// The operators: weight [H D] and rope [N, D] (cos and sin of each pair), float32 and contiguous.

std::tuple<at::Tensor, at::Tensor> forward_kernels(const at::Tensor& given,
                                                   const std::optional<at::Tensor>& weight,
                                                   const std::optional<at::Tensor>& rope,
                                                   double eps, bool keep_inverse) {
  const at::Tensor x = with_rows(given);
  at::Tensor out = at::empty(x.sizes(), x.options());
  const bool keep = keep_inverse && weight;
  at::Tensor inverse =
      at::empty(keep ? at::IntArrayRef{x.size(0), x.size(1)} : at::IntArrayRef{0, 0},
                x.options().dtype(at::kFloat));
  const attention::TokenPass pass{.x = const_view(x),
                                  .out = view(out),
                                  .weight = floats_or_null(weight),
                                  .rope = floats_or_null(rope),
                                  .inverse_rms = keep ? inverse.data_ptr<float>() : nullptr};
  count_attention(kLabel, "forward", run_passes(x, {&pass, 1}, eps));
  return {out, inverse};
}

std::tuple<at::Tensor, at::Tensor> backward_kernels(const at::Tensor& grad_out,
                                                    const at::Tensor& given,
                                                    const std::optional<at::Tensor>& weight,
                                                    const std::optional<at::Tensor>& rope,
                                                    const at::Tensor& inverse) {
  const at::Tensor x = with_rows(given), gradient = with_rows(grad_out);
  at::Tensor grad_x = at::empty(x.sizes(), x.options());
  const auto floats = x.options().dtype(at::kFloat);
  const int64_t channels = weight ? x.size(2) * x.size(3) : 0;
  at::Tensor grad_weight = at::empty({channels}, floats);
  const DeviceScope scope(x);
  const bool on_gpu = scope.device() == attention::Device::kCuda;
  const int64_t num_sums = on_gpu ? attention::cuda::num_weight_sums(x.size(0), x.size(1))
                                  : attention::num_weight_sums(x.size(0), x.size(1));
  at::Tensor sums = at::empty({num_sums, channels}, floats);
  const attention::TokenPassGradient pass{
      .x = const_view(x),
      .grad_out = const_view(gradient),
      .grad_x = view(grad_x),
      .weight = floats_or_null(weight),
      .rope = floats_or_null(rope),
      .inverse_rms = weight ? inverse.const_data_ptr<float>() : nullptr,
      .grad_weight = weight ? grad_weight.data_ptr<float>() : nullptr,
      .workspace = {sums.data_ptr<float>(), static_cast<size_t>(sums.numel())}};
  if (on_gpu) {
    attention::cuda::run_token_pass_gradient(pass, scope.stream());
  } else {
    attention::run_token_pass_gradient(pass, num_threads(), torch_loop);
  }
  count_attention(kLabel, "backward",
                  on_gpu ? kCudaKernels : attention::token_pass_implementation());
  return {grad_x, grad_weight};
}

std::tuple<at::Tensor, at::Tensor> forward_meta(const at::Tensor& x,
                                                const std::optional<at::Tensor>& weight,
                                                const std::optional<at::Tensor>& /*rope*/,
                                                double /*eps*/, bool keep_inverse) {
  const auto floats = x.options().dtype(at::kFloat);
  return {at::empty_symint(x.sym_sizes(), x.options()),
          keep_inverse && weight ? at::empty_symint({x.sym_size(0), x.sym_size(1)}, floats)
                                 : at::empty({0, 0}, floats)};
}

std::tuple<at::Tensor, at::Tensor> backward_meta(const at::Tensor& /*grad_out*/,
                                                 const at::Tensor& x,
                                                 const std::optional<at::Tensor>& weight,
                                                 const std::optional<at::Tensor>& /*rope*/,
                                                 const at::Tensor& /*inverse*/) {
  const auto floats = x.options().dtype(at::kFloat);
  return {at::empty_symint(x.sym_sizes(), x.options()),
          weight ? at::empty_symint(weight->sym_sizes(), floats) : at::empty({0}, floats)};
}

std::tuple<at::Tensor, at::Tensor> call_forward(const at::Tensor& x,
                                                const std::optional<at::Tensor>& weight,
                                                const std::optional<at::Tensor>& rope, double eps,
                                                bool keep_inverse) {
  static const auto handle =
      operator_named<decltype(forward_kernels)>("monarch::norm_rope_forward");
  return handle.call(x, weight, rope, eps, keep_inverse);
}

std::tuple<at::Tensor, at::Tensor> call_backward(const at::Tensor& grad_out, const at::Tensor& x,
                                                 const std::optional<at::Tensor>& weight,
                                                 const std::optional<at::Tensor>& rope,
                                                 const at::Tensor& inverse) {
  static const auto handle =
      operator_named<decltype(backward_kernels)>("monarch::norm_rope_backward");
  return handle.call(grad_out, x, weight, rope, inverse);
}

class NormRope : public torch::autograd::Function<NormRope> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const std::optional<at::Tensor>& weight,
                               const std::optional<at::Tensor>& rope, double eps) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto [out, inverse] = call_forward(x, weight, rope, eps, /*keep_inverse=*/true);
    context->save_for_backward(
        {x, weight.value_or(at::Tensor()), rope.value_or(at::Tensor()), inverse});
    context->mark_non_differentiable({inverse});
    return {out, inverse};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const auto [grad_x, grad_weight] =
        call_backward(grads[0], saved[0], optional(saved[1]), optional(saved[2]), saved[3]);
    return {grad_x, saved[1].defined() ? grad_weight : at::Tensor(), {}, {}};
  }
};

std::tuple<at::Tensor, at::Tensor> forward_autograd(const at::Tensor& x,
                                                    const std::optional<at::Tensor>& weight,
                                                    const std::optional<at::Tensor>& rope,
                                                    double eps, bool keep_inverse) {
  if (!at::GradMode::is_enabled() || !(x.requires_grad() || (weight && weight->requires_grad()))) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return call_forward(x, weight, rope, eps, keep_inverse);
  }
  const variable_list results = NormRope::apply(x, weight, rope, eps);
  return {results[0], results[1]};
}

void check_operands(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rope) {
  MONARCH_CHECK(x.dim() == 4 && x.is_floating_point(),
                "[monarch_ops] norm_rope needs floating x of shape [batch, tokens, heads, "
                "head_dim]; got ",
                x.scalar_type(), ' ', shape_string(x.sizes()));
  MONARCH_CHECK(!weight.defined() || (weight.dim() == 1 && weight.size(0) == x.size(2) * x.size(3)),
                "[monarch_ops] norm_rope needs a weight of ", x.size(2) * x.size(3),
                " channels for x ", shape_string(x.sizes()));
  MONARCH_CHECK(!rope.defined() || (rope.is_complex() && rope.dim() == 2 && x.size(3) % 2 == 0 &&
                                    rope.size(0) == x.size(1) && rope.size(1) == x.size(3) / 2),
                "[monarch_ops] norm_rope needs complex rope of shape [", x.size(1), ", ",
                x.size(3) / 2, "] for x ", shape_string(x.sizes()));
  for (const at::Tensor& other : {weight, rope}) {
    MONARCH_CHECK(!other.defined() || other.device() == x.device(),
                  "[monarch_ops] norm_rope needs x, weight and rope on one device; got ",
                  x.device(), " and ", other.device());
  }
}

std::string refusal_of(const at::Tensor& x) {
  std::string refusal = forced_refusal();
  if (!refusal.empty()) return refusal;
  refusal = device_refusal(x.device());
  if (!refusal.empty()) return refusal;
  const std::optional<DType> dtype = float_dtype(x.scalar_type());
  if (!dtype) return str_cat("the kernels have no tensors of type ", x.scalar_type());
  const DeviceScope scope(x);
  if (scope.device() == attention::Device::kCuda) {
    return attention::cuda::token_pass_refusal(*dtype, x.size(2), x.size(3));
  }
  return attention::token_pass_refusal(*dtype, x.size(2) * x.size(3));
}

at::Tensor float_weight(const at::Tensor& weight) {
  return weight.defined() ? weight.to(at::kFloat).contiguous() : weight;
}

// [N, D/2] complex -> [N, D] float
at::Tensor float_rope(const at::Tensor& rope) {
  return rope.defined() ? at::view_as_real(rope.to(at::kComplexFloat).contiguous()).flatten(1)
                        : rope;
}

}  // namespace

at::Tensor norm_rope(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rope,
                     double eps) {
  check_operands(x, weight, rope);
  const std::string refusal = refusal_of(x);
  if (refusal.empty()) {
    return std::get<0>(call_forward(x, optional(float_weight(weight)), optional(float_rope(rope)),
                                    eps, /*keep_inverse=*/false));
  }
  count_attention(kLabel, "forward", "composed", refusal);
  at::Tensor out = x;
  if (weight.defined()) out = composed::rms_norm(x.flatten(2), weight, eps).view(x.sizes());
  return rope.defined() ? composed::apply_rope(out, rope) : out;
}

at::Tensor norm_rope_write(const Projections& p, const Grid& grid, const MonarchOptions& tiling,
                           const at::Tensor& k_slots, const at::Tensor& v_slots) {
  const at::NoGradGuard no_grad;
  check_operands(p.q, p.norm_q, p.rope);
  check_operands(p.k, p.norm_k, p.rope);
  blocks_of(grid, tiling);
  MONARCH_CHECK(p.k.size(1) == grid.tokens() && p.v.sizes() == p.k.sizes() &&
                    k_slots.sizes() == p.k.sizes() && v_slots.sizes() == p.k.sizes(),
                "[monarch_ops] norm_rope_write: keys ", shape_string(p.k.sizes()), ", values ",
                shape_string(p.v.sizes()), " and slots ", shape_string(k_slots.sizes()), ", ",
                shape_string(v_slots.sizes()), " must agree with each other and with the ",
                grid.tokens(), " tokens of the grid");
  std::string refusal = refusal_of(p.q);
  if (refusal.empty() &&
      (p.k.scalar_type() != k_slots.scalar_type() || p.v.scalar_type() != v_slots.scalar_type()))
    refusal = "the cache has another type than its keys";
  if (!refusal.empty()) {
    k_slots.copy_(to_block_order(p.rotated_k(), grid, tiling));
    v_slots.copy_(to_block_order(p.v, grid, tiling));
    return p.rotated_q();
  }
  const at::Tensor q = with_rows(p.q), k = with_rows(p.k), v = with_rows(p.v);
  const at::Tensor norm_q = float_weight(p.norm_q), norm_k = float_weight(p.norm_k),
                   rope = float_rope(p.rope);
  at::Tensor out = at::empty(q.sizes(), q.options());
  const attention::BlockLayout order{.height = grid.height,
                                     .width = grid.width,
                                     .f_tied = tiling.f_tied,
                                     .h_reduce = tiling.h_reduce,
                                     .w_reduce = tiling.w_reduce};
  const float* angles = floats_or_null(rope);
  const std::array<attention::TokenPass, 3> passes{
      attention::TokenPass{
          .x = const_view(q), .out = view(out), .weight = floats_or_null(norm_q), .rope = angles},
      {.x = const_view(k),
       .out = view(k_slots),
       .weight = floats_or_null(norm_k),
       .rope = angles,
       .order = order},
      {.x = const_view(v), .out = view(v_slots), .order = order}};
  const std::string ran = run_passes(q, passes, p.eps);
  for (const at::Tensor& written : {k_slots, v_slots}) {
    if (!written.is_inference()) written.unsafeGetTensorImpl()->bump_version();
  }
  count_attention("norm-rope-write", "forward", ran);
  return out;
}

TORCH_LIBRARY_FRAGMENT(monarch, library) {
  library.def("norm_rope(Tensor x, Tensor? weight, Tensor? rope, float eps=1e-06) -> Tensor",
              [](const at::Tensor& x, const std::optional<at::Tensor>& weight,
                 const std::optional<at::Tensor>& rope, double eps) {
                return norm_rope(with_known_sizes(x),
                                 with_known_sizes(weight.value_or(at::Tensor())),
                                 with_known_sizes(rope.value_or(at::Tensor())), eps);
              });
  library.def(
      "norm_rope_forward(Tensor x, Tensor? weight, Tensor? rope, float eps, bool keep_inverse) -> "
      "(Tensor out, Tensor inverse_rms)");
  library.def(
      "norm_rope_backward(Tensor grad_out, Tensor x, Tensor? weight, Tensor? rope, "
      "Tensor inverse_rms) -> (Tensor grad_x, Tensor grad_weight)");
}

TORCH_LIBRARY_IMPL(monarch, CPU, library) {
  library.impl("norm_rope_forward", forward_kernels);
  library.impl("norm_rope_backward", backward_kernels);
}

TORCH_LIBRARY_IMPL(monarch, CUDA, library) {
  library.impl("norm_rope_forward", forward_kernels);
  library.impl("norm_rope_backward", backward_kernels);
}

TORCH_LIBRARY_IMPL(monarch, Meta, library) {
  library.impl("norm_rope_forward", forward_meta);
  library.impl("norm_rope_backward", backward_meta);
}

TORCH_LIBRARY_IMPL(monarch, Autograd, library) {
  library.impl("norm_rope_forward", forward_autograd);
}

}  // namespace monarch::ops
