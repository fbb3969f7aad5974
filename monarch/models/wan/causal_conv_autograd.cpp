#include "monarch/models/wan/causal_conv_autograd.h"

#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "monarch/models/wan/causal_conv_fast.h"

namespace monarch::models {
namespace {

using conv_kernels::WinogradProblem;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

FrameList list_of(const at::Tensor& frames) {
  FrameList list(frames.size(0));
  list.append(frames);
  return list;
}

// `reversed`: the transposed convolution, from gradients of the output to those of the input.
std::vector<float> packed_weights(const at::Tensor& weight, const WinogradProblem& problem,
                                  bool reversed) {
  const conv_kernels::Kernels& kernels = conv_kernels::best_kernels();
  const at::Tensor contiguous = weight.contiguous();
  std::vector<float> packed(kernels.packed_floats(problem));
  kernels.pack(problem, contiguous.const_data_ptr<float>(), contiguous.stride(reversed ? 1 : 0),
               contiguous.stride(reversed ? 0 : 1), reversed, packed.data());
  return packed;
}

struct WinogradConv : torch::autograd::Function<WinogradConv> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given,
                            const at::Tensor& weight, const at::Tensor& bias) {
    const at::Tensor frames = given.contiguous();
    context->save_for_backward({frames, weight});
    const WinogradProblem problem = {frames.size(2), frames.size(3), weight.size(1), weight.size(0),
                                     weight.size(2)};
    return run_winograd(list_of(frames), problem, packed_weights(weight, problem, false).data(),
                        bias);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& frames = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor gradient = gradients[0].contiguous();
    const int64_t taps = weight.size(2);
    at::Tensor frames_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(0)) {
      // Input frame f has part in the output frames f - taps + 1 ... f, those there are.
      FrameList list(frames.size(0));
      list.append_zeros(taps - 1);
      list.append(gradient);
      list.append_zeros(taps - 1);
      const WinogradProblem problem = {frames.size(2), frames.size(3), weight.size(0),
                                       weight.size(1), taps};
      frames_gradient = run_winograd(list, problem, packed_weights(weight, problem, true).data(),
                                     at::zeros({weight.size(1)}, at::kFloat));
    }
    if (context->needs_input_grad(1)) {
      const WinogradProblem problem = {frames.size(2), frames.size(3), weight.size(1),
                                       weight.size(0), taps};
      weight_gradient = run_weight_gradient(list_of(frames), list_of(gradient), problem);
    }
    if (context->needs_input_grad(2)) bias_gradient = gradient.sum({0, 1, 2, 3});
    return {frames_gradient, weight_gradient, bias_gradient};
  }
};

struct NormSilu : torch::autograd::Function<NormSilu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given,
                            const at::Tensor& gamma) {
    const at::Tensor x = given.contiguous();
    context->save_for_backward({x, gamma});
    at::Tensor y = at::empty_like(x);
    fast_norm_silu(x, gamma, y);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    auto [dx, dgamma] =
        fast_norm_silu_backward(saved[0], saved[1].contiguous(), gradients[0].contiguous());
    return {dx, dgamma};
  }
};

}  // namespace

at::Tensor winograd_conv(const at::Tensor& frames, const at::Tensor& weight,
                         const at::Tensor& bias) {
  return WinogradConv::apply(frames, weight, bias);
}

at::Tensor norm_silu(const at::Tensor& x, const at::Tensor& gamma) {
  return NormSilu::apply(x, gamma);
}

}  // namespace monarch::models
