#include "monarch/ops/composed/norm_rope.h"

namespace monarch::ops::composed {
namespace {

// 1 / sqrt(mean of squares + eps), [..., 1]: one pass over x.
at::Tensor inverse_rms(const at::Tensor& x, double eps) {
  return at::linalg_vector_norm(x, 2, {-1}, /*keepdim=*/true)
      .square_()
      .div_(x.size(-1))
      .add_(eps)
      .rsqrt_();
}

// One autograd node instead of six: saves x and the inverse. With n = x * inverse, g = dout:
//   dx = inverse * (w g - n * mean(w g n)),   dw = sum over tokens of g n
class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, double eps) {
    const at::Tensor inverse = inverse_rms(x, eps);
    context->save_for_backward({x, weight, inverse});
    return (x * inverse).mul_(weight);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &inverse = saved[2];
    const at::Tensor normed = x * inverse;
    at::Tensor product = grads[0] * normed;  // g n
    const at::Tensor d_weight = product.flatten(0, -2).sum(0);
    const at::Tensor mean = at::matmul(product, weight).div_(x.size(-1)).unsqueeze(-1);
    at::Tensor d_x = (grads[0] * weight).addcmul_(normed, mean, -1).mul_(inverse);
    return {d_x, d_weight, at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor wide = x.to(type), factor = weight.to(type);
  if (at::GradMode::is_enabled() && (wide.requires_grad() || factor.requires_grad())) {
    return RmsNorm::apply(wide, factor, eps).to(x.scalar_type());
  }
  return (wide * inverse_rms(wide, eps)).mul_(factor).to(x.scalar_type());
}

at::Tensor apply_rope(const at::Tensor& x, const at::Tensor& rope) {
  const bool wide = x.scalar_type() == at::kDouble;
  const at::Tensor pairs =
      at::view_as_complex(x.to(wide ? at::kDouble : at::kFloat).contiguous().unflatten(3, {-1, 2}));
  const at::Tensor angles = (wide ? rope.to(at::kComplexDouble) : rope).unsqueeze(1);
  return at::view_as_real(pairs * angles).flatten(3).to(x.scalar_type());
}

}  // namespace monarch::ops::composed
