#include "monarch/models/wan/recompute.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

namespace monarch::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The inputs as leaves of a graph of their own.
variable_list leaves_of(const variable_list& inputs) {
  variable_list leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.detach().set_requires_grad(input.requires_grad()));
  return leaves;
}

// Travels through the context of the autograd node.
struct Held : torch::CustomClassHolder {
  explicit Held(Recomputable p) : part(std::move(p)) {}
  Recomputable part;
};

struct Recomputed : torch::autograd::Function<Recomputed> {
  static variable_list forward(AutogradContext* context, const c10::intrusive_ptr<Held>& held,
                               at::TensorList inputs) {
    variable_list outputs;
    {
      const at::AutoGradMode record(true);
      for (const at::Tensor& output : held->part.run(leaves_of(inputs.vec())))
        outputs.push_back(output.variable_data());
    }
    context->save_for_backward(inputs.vec());
    context->saved_data["part"] = c10::IValue::make_capsule(held);
    context->set_materialize_grads(false);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["part"].toCapsule();
    const Recomputable& part = static_cast<Held&>(*capsule).part;
    const variable_list inputs = leaves_of(context->get_saved_variables());
    variable_list outputs, given;
    {
      const at::AutoGradMode record(true);
      const variable_list all = part.run(inputs);
      for (size_t i = 0; i < all.size(); ++i) {
        if (!gradients[i].defined() || !all[i].requires_grad()) continue;
        outputs.push_back(all[i]);
        given.push_back(gradients[i]);
      }
    }
    if (!outputs.empty()) torch::autograd::backward(outputs, given);
    if (part.after_backward) part.after_backward();
    variable_list result{at::Tensor()};  // of `held`
    for (const at::Tensor& input : inputs) result.push_back(input.grad());
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> recomputed(Recomputable part, const std::vector<at::Tensor>& inputs) {
  return Recomputed::apply(c10::make_intrusive<Held>(std::move(part)), at::TensorList(inputs));
}

}  // namespace monarch::models
