#include "monarch/models/wan/network_part.h"

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

void call(const std::function<void()>& action) {
  if (action) action();
}

// Travels through the context of the autograd node.
struct Held : torch::CustomClassHolder {
  explicit Held(NetworkPart p) : part(std::move(p)) {}

  void run(const variable_list& from) {
    const at::AutoGradMode record(true);
    inputs = leaves_of(from);
    outputs = part.run(inputs);
  }
  void forget() {
    inputs.clear();
    outputs.clear();
  }

  NetworkPart part;
  variable_list inputs, outputs;  // of the graph that was recorded
};

struct PartNode : torch::autograd::Function<PartNode> {
  static variable_list forward(AutogradContext* context, const c10::intrusive_ptr<Held>& held,
                               at::TensorList inputs) {
    held->run(inputs.vec());
    variable_list outputs;
    for (const at::Tensor& output : held->outputs) outputs.push_back(output.variable_data());
    if (!held->part.keep_activations) {
      held->forget();
      context->save_for_backward(inputs.vec());
    }
    call(held->part.after_forward);
    context->saved_data["part"] = c10::IValue::make_capsule(held);
    context->set_materialize_grads(false);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["part"].toCapsule();
    Held& held = static_cast<Held&>(*capsule);
    call(held.part.before_backward);
    if (!held.part.keep_activations) held.run(context->get_saved_variables());
    variable_list outputs, given;
    for (size_t i = 0; i < held.outputs.size(); ++i) {
      if (!gradients[i].defined() || !held.outputs[i].requires_grad()) continue;
      outputs.push_back(held.outputs[i]);
      given.push_back(gradients[i]);
    }
    if (!outputs.empty()) torch::autograd::backward(outputs, given);
    variable_list result{at::Tensor()};  // of `held`
    for (const at::Tensor& input : held.inputs) result.push_back(input.grad());
    held.forget();
    call(held.part.after_backward);
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> run_part(NetworkPart part, const std::vector<at::Tensor>& inputs) {
  return PartNode::apply(c10::make_intrusive<Held>(std::move(part)), at::TensorList(inputs));
}

}  // namespace monarch::models
