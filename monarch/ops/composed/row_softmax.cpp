#include "monarch/ops/composed/row_softmax.h"

namespace monarch::ops::composed {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// dz_l = r_l (x_l - sum_l r_l x_l)  with  x = dr + dc log r
class RowSoftmax : public torch::autograd::Function<RowSoftmax> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& z) {
    const at::Tensor log_r = at::log_softmax(z, 1);
    const at::Tensor r = log_r.exp();
    context->save_for_backward({log_r, r});
    return {r, (r * log_r).sum(1)};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& log_r = saved[0];
    const at::Tensor& r = saved[1];
    at::Tensor x;
    if (grads[1].defined()) {
      const at::Tensor d_c = grads[1].unsqueeze(1);
      x = grads[0].defined() ? at::addcmul(grads[0], log_r, d_c) : log_r * d_c;
    } else {
      x = grads[0];
    }
    return {at::_softmax_backward_data(x, r, 1, r.scalar_type())};
  }
};

}  // namespace

std::pair<at::Tensor, at::Tensor> row_softmax(const at::Tensor& z) {
  if (at::GradMode::is_enabled() && z.requires_grad()) {
    variable_list out = RowSoftmax::apply(z);
    return {out[0], out[1]};
  }
  at::Tensor log_r = at::log_softmax(z, 1);
  at::Tensor r = log_r.exp();
  at::Tensor c = log_r.mul_(r).sum(1);
  return {std::move(r), std::move(c)};
}

}  // namespace monarch::ops::composed
