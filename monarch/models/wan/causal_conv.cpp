#include "monarch/models/wan/causal_conv.h"

#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/causal_conv_autograd.h"
#include "monarch/models/wan/causal_conv_fast.h"

namespace monarch::models {
namespace {

// Measured on two AVX-512 cores, float32, GFLOP/s for a 3x3x3 kernel (conv3d, sum of three conv2d,
// one conv2d on stacked channels): 8 channels 4, 53, 70; 16 channels 9, 107, 133; 32 channels 15,
// 120, 83; 96 channels 147, 137, 138.
constexpr int64_t kMaxStackedChannels = 24;
constexpr int64_t kMaxSummedChannels = 80;

// [B, T, H, W, C] as a batch of channels-last images [B*T, C, H, W].
at::Tensor as_images(const at::Tensor& x) {
  return x.reshape({x.size(0) * x.size(1), x.size(2), x.size(3), x.size(4)}).permute({0, 3, 1, 2});
}

// The way back, for `batch` samples.
at::Tensor as_frames(const at::Tensor& images, int64_t batch) {
  const at::Tensor last = images.permute({0, 2, 3, 1}).contiguous();
  return last.view({batch, last.size(0) / batch, last.size(1), last.size(2), last.size(3)});
}

}  // namespace

CausalConv3d::CausalConv3d(at::Tensor weight, at::Tensor bias, Sizes padding, Sizes stride)
    : weight_(std::move(weight)), bias_(std::move(bias)), padding_(padding), stride_(stride) {
  MONARCH_CHECK(weight_.dim() == 5 && bias_.dim() == 1 && bias_.size(0) == weight_.size(0),
                "[monarch_models] causal convolution needs a weight [out, in, kt, kh, kw] and a "
                "bias [out]; got ",
                shape_string(weight_.sizes()), " and ", shape_string(bias_.sizes()));
}

at::Tensor CausalConv3d::forward(const at::Tensor& x, const at::Tensor& cache) const {
  MONARCH_CHECK(x.dim() == 5 && x.size(4) == in_channels(),
                "[monarch_models] causal convolution of ", in_channels(),
                " channels needs frames [B, T, H, W, ", in_channels(), "]; got ",
                shape_string(x.sizes()));
  at::Tensor frames = x;
  const int64_t num_before = 2 * padding_[0];
  if (num_before > 0) {
    const int64_t num_cached = cache.defined() ? cache.size(1) : 0;
    MONARCH_CHECK(num_cached <= num_before,
                  "[monarch_models] causal convolution takes a cache of at most ", num_before,
                  " frames; got ", num_cached);
    std::vector<at::Tensor> parts;
    if (num_cached < num_before) {
      parts.push_back(
          x.new_zeros({x.size(0), num_before - num_cached, x.size(2), x.size(3), x.size(4)}));
    }
    if (num_cached > 0) parts.push_back(cache);
    parts.push_back(x);
    frames = at::cat(parts, 1);
  }
  MONARCH_CHECK(frames.size(1) >= weight_.size(2), "[monarch_models] causal convolution over ",
                weight_.size(2), " frames got only ", frames.size(1), " (padding included)");
  const bool is_3x3 = weight_.size(3) == 3 && weight_.size(4) == 3 && padding_[1] == 1 &&
                      padding_[2] == 1 && stride_ == Sizes{1, 1, 1};
  if (is_3x3 && kernels_serve({&frames, &weight_, &bias_})) {
    return winograd_conv(frames, weight_, bias_);
  }
  const bool per_pixel = weight_.size(3) == 1 && weight_.size(4) == 1;
  if (per_pixel || (frames.device().is_cpu() && in_channels() <= kMaxStackedChannels)) {
    return forward_stacked(frames);
  }
  if (frames.device().is_cpu() && in_channels() <= kMaxSummedChannels && stride_[0] == 1) {
    return forward_summed(frames);
  }
  return forward_conv3d(frames);
}

// Puts the kt frames that an output frame sees side by side in the channels: one 2D convolution, or
// one matrix product.
at::Tensor CausalConv3d::forward_stacked(const at::Tensor& frames) const {
  const int64_t taps = weight_.size(2);
  const int64_t num_out = (frames.size(1) - taps) / stride_[0] + 1;
  std::vector<at::Tensor> shifted;
  for (int64_t tap = 0; tap < taps; ++tap) {
    shifted.push_back(frames.slice(1, tap, tap + (num_out - 1) * stride_[0] + 1, stride_[0]));
  }
  const at::Tensor stacked = taps == 1 ? shifted[0] : at::cat(shifted, 4);  // [B, T', H, W, kt*in]
  const at::Tensor weight =                                                 // [out, kt*in, kh, kw]
      weight_.transpose(1, 2).reshape(
          {out_channels(), taps * in_channels(), weight_.size(3), weight_.size(4)});
  const bool per_pixel = weight.size(2) == 1 && weight.size(3) == 1 && padding_[1] == 0 &&
                         padding_[2] == 0 && stride_[1] == 1 && stride_[2] == 1;
  if (per_pixel) return at::linear(stacked, weight.flatten(1), bias_);
  return as_frames(at::conv2d(as_images(stacked), weight.contiguous(at::MemoryFormat::ChannelsLast),
                              bias_, {stride_[1], stride_[2]}, {padding_[1], padding_[2]}),
                   frames.size(0));
}

at::Tensor CausalConv3d::forward_summed(const at::Tensor& frames) const {
  const int64_t num_out = frames.size(1) - weight_.size(2) + 1;
  at::Tensor sum;
  for (int64_t tap = 0; tap < weight_.size(2); ++tap) {
    const at::Tensor part = at::conv2d(
        as_images(frames.narrow(1, tap, num_out)),
        weight_.select(2, tap).contiguous(at::MemoryFormat::ChannelsLast),
        tap == 0 ? bias_ : at::Tensor(), {stride_[1], stride_[2]}, {padding_[1], padding_[2]});
    sum = tap == 0 ? part : sum.add_(part);
  }
  return as_frames(sum, frames.size(0));
}

at::Tensor CausalConv3d::forward_conv3d(const at::Tensor& frames) const {
  const at::Tensor out =
      at::conv3d(frames.permute({0, 4, 1, 2, 3}),  // [B, in, T, H, W], channels-last in memory
                 weight_.contiguous(at::MemoryFormat::ChannelsLast3d), bias_, stride_,
                 {0, padding_[1], padding_[2]});
  return out.permute({0, 2, 3, 4, 1}).contiguous();
}

at::Tensor conv2d_frames(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         int64_t pad_before, int64_t pad_behind, int64_t stride) {
  if (stride == 1 && pad_before == 1 && pad_behind == 1 && weight.size(2) == 3 &&
      weight.size(3) == 3 && kernels_serve({&x, &weight, &bias})) {
    return winograd_conv(x, weight.unsqueeze(2), bias);
  }
  at::Tensor padded = x;
  int64_t padding = pad_before;
  if (pad_before != pad_behind) {
    padded = at::constant_pad_nd(x, {0, 0, pad_before, pad_behind, pad_before, pad_behind});
    padding = 0;
  }
  return as_frames(at::conv2d(as_images(padded), weight.contiguous(at::MemoryFormat::ChannelsLast),
                              bias, {stride, stride}, {padding, padding}),
                   x.size(0));
}

at::Tensor last_two_frames(const at::Tensor& x, const at::Tensor& cache) {
  const int64_t num_frames = x.size(1);
  if (num_frames >= 2) return x.narrow(1, num_frames - 2, 2).clone();
  const at::Tensor before = cache.defined() ? cache.narrow(1, 1, 1) : at::zeros_like(x);
  return at::cat({before, x}, 1);
}

}  // namespace monarch::models
