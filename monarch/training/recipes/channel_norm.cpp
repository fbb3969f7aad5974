#include "monarch/training/recipes/channel_norm.h"

#include <cmath>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr float kTiny = 1e-12F;
constexpr int64_t kMaxChannels = 256;

struct ChannelNorm : torch::autograd::Function<ChannelNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& gamma) {
    const at::Tensor y = at::empty_like(x);
    const int64_t channels = x.size(1);
    const int64_t rows = x.numel() / channels;
    const float* from = x.const_data_ptr<float>();
    const float* scale = gamma.const_data_ptr<float>();
    float* to = y.mutable_data_ptr<float>();
    for (int64_t row = 0; row < rows; ++row, from += channels, to += channels) {
      float sum = 0;
      for (int64_t c = 0; c < channels; ++c) sum += from[c] * from[c];
      const float inverse = 1 / std::sqrt(sum / static_cast<float>(channels) + kTiny);
      for (int64_t c = 0; c < channels; ++c) to[c] = from[c] * inverse * scale[c];
    }
    context->save_for_backward({x, gamma});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor gradient = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor grad_x = at::empty_like(x);
    const int64_t channels = x.size(1);
    const int64_t rows = x.numel() / channels;
    const float* from = x.const_data_ptr<float>();
    const float* scale = saved[1].const_data_ptr<float>();
    const float* g = gradient.const_data_ptr<float>();
    float* to = grad_x.mutable_data_ptr<float>();
    float grad_scale[kMaxChannels] = {};
    for (int64_t row = 0; row < rows; ++row, from += channels, g += channels, to += channels) {
      float sum = 0;
      float along = 0;  // of the gradient with x
      for (int64_t c = 0; c < channels; ++c) {
        sum += from[c] * from[c];
        along += from[c] * g[c] * scale[c];
      }
      const float inverse = 1 / std::sqrt(sum / static_cast<float>(channels) + kTiny);
      const float pull = along * inverse * inverse / static_cast<float>(channels);
      for (int64_t c = 0; c < channels; ++c) {
        to[c] = inverse * (g[c] * scale[c] - from[c] * pull);
        grad_scale[c] += g[c] * from[c] * inverse;
      }
    }
    return {grad_x, at::from_blob(grad_scale, {channels}, at::kFloat).clone()};
  }
};

}  // namespace

at::Tensor channel_norm(const at::Tensor& x, const at::Tensor& gamma) {
  MONARCH_CHECK(x.scalar_type() == at::kFloat && x.dim() == 4 && x.size(1) <= kMaxChannels,
                "[monarch_training] channel_norm needs float32 [N, C, H, W] with at most ",
                kMaxChannels, " channels, but got ", at::toString(x.scalar_type()), " ",
                shape_string(x.sizes()));
  return ChannelNorm::apply(x.contiguous(at::MemoryFormat::ChannelsLast), gamma.contiguous());
}

}  // namespace monarch::training
