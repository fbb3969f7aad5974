#include "monarch/models/wan/norms.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

// [B, N, C] -> [B, R, N/R, C]
at::Tensor runs_of(const at::Tensor& x, const at::Tensor& modulation) {
  const int64_t runs = modulation.size(1);
  MONARCH_CHECK(x.size(1) % runs == 0, "[monarch_models] ", x.size(1), " tokens do not split into ",
                runs, " runs, one for each timestep of a sample");
  return x.unflatten(1, {runs, x.size(1) / runs});
}

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

at::Tensor modulated_layer_norm(const at::Tensor& x, const at::Tensor& shift,
                                const at::Tensor& scale, double eps) {
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
  if (!at::GradMode::is_enabled()) {
    runs_of(x, gate).addcmul_(runs_of(y, gate), gate.unsqueeze(2));
    return x;
  }
  return at::addcmul(runs_of(x, gate), runs_of(y, gate), gate.unsqueeze(2)).flatten(1, 2);
}

}  // namespace monarch::models
