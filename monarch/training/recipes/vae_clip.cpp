#include "monarch/training/recipes/vae_clip.h"

#include <array>
#include <cmath>

#include "monarch/base/error.h"
#include "monarch/training/recipes/channel_norm.h"

namespace monarch::training {
namespace {

constexpr std::array<int64_t, 4> kDimMult{1, 2, 4, 4};
constexpr std::array<bool, 3> kTemporalDownsample{false, true, true};

// The layers, on frames folded into the batch, time outermost: [T * B, C, H, W], channels-last in
// memory.
class Network {
 public:
  Network(const TensorMap& parameters, int64_t batch) : parameters_(parameters), batch_(batch) {}

  const at::Tensor& get(const std::string& name) const {
    const auto found = parameters_.find(name);
    MONARCH_CHECK(found != parameters_.end(), "[monarch_training] the VAE parameter '", name,
                  "' is missing");
    return found->second;
  }

  // Causal 3x3x3 (or 3x1x1) convolution: [x(t-2), x(t-1), x(t)] as channels.
  at::Tensor causal_conv(const std::string& name, const at::Tensor& x) const {
    const at::Tensor& weight = get(name + ".weight");  // [out, in, 3, k, k]
    const int64_t k = weight.size(3);
    const at::Tensor padded =
        at::cat({at::zeros_like(x.slice(0, 0, 1)).expand({2 * batch_, -1, -1, -1}), x});
    const at::Tensor stacked =
        at::cat({padded.slice(0, 0, x.size(0)), padded.slice(0, batch_, x.size(0) + batch_), x}, 1);
    const at::Tensor flat =
        weight.permute({0, 2, 1, 3, 4}).reshape({weight.size(0), 3 * weight.size(1), k, k});
    return at::conv2d(stacked, flat, get(name + ".bias"), 1, k / 2);
  }

  at::Tensor conv(const std::string& name, const at::Tensor& x, int64_t stride = 1) const {
    const at::Tensor& weight = get(name + ".weight");
    const at::Tensor flat = weight.dim() == 5 ? weight.squeeze(2) : weight;
    return at::conv2d(x, flat, get(name + ".bias"), stride, stride == 1 ? flat.size(2) / 2 : 0);
  }

  at::Tensor norm(const std::string& name, const at::Tensor& x) const {
    return channel_norm(x, get(name + ".gamma").flatten());
  }

  at::Tensor residual(const std::string& name, const at::Tensor& x) const {
    at::Tensor y = causal_conv(name + ".residual.2", at::silu(norm(name + ".residual.0", x)));
    y = causal_conv(name + ".residual.6", at::silu(norm(name + ".residual.3", y)));
    return y +
           (parameters_.count(name + ".shortcut.weight") != 0 ? conv(name + ".shortcut", x) : x);
  }

  at::Tensor attention(const std::string& name, const at::Tensor& x) const {
    const int64_t channels = x.size(1);
    const at::Tensor qkv =
        conv(name + ".to_qkv", norm(name + ".norm", x)).flatten(2).transpose(1, 2);  // [N, HW, 3C]
    const auto parts = qkv.chunk(3, 2);
    const at::Tensor scores =
        at::bmm(parts[0], parts[1].transpose(1, 2)) / std::sqrt(static_cast<double>(channels));
    const at::Tensor mixed =
        at::bmm(scores.softmax(-1), parts[2]).transpose(1, 2).reshape(x.sizes());
    return x + conv(name + ".proj", mixed);
  }

  at::Tensor down(const std::string& name, const at::Tensor& x, bool temporal) const {
    const at::Tensor y = conv(name + ".resample.1", at::constant_pad_nd(x, {0, 1, 0, 1}), 2);
    const int64_t frames = y.size(0) / batch_;
    if (!temporal || frames == 1) return y;
    // The first frame stays; later ones come in pairs: out(j) sees frames 2j-2, 2j-1, 2j.
    const at::Tensor by_frame = y.unflatten(0, {frames, batch_});
    const at::Tensor stacked =
        at::cat({by_frame.slice(0, 0, frames - 2, 2), by_frame.slice(0, 1, frames - 1, 2),
                 by_frame.slice(0, 2, frames, 2)},
                2)
            .flatten(0, 1);
    return at::cat({y.slice(0, 0, batch_),
                    at::conv2d(stacked, time_weight(name), get(name + ".time_conv.bias"))});
  }

  at::Tensor up(const std::string& name, const at::Tensor& x, bool temporal) const {
    at::Tensor y = x;
    const int64_t frames = x.size(0) / batch_;
    if (temporal && frames > 1) {
      // The first frame stays alone and unseen; every later one becomes two.
      const at::Tensor later = x.slice(0, batch_);
      const at::Tensor doubled = causal_conv(name + ".time_conv", later)
                                     .unflatten(0, {frames - 1, batch_})
                                     .unflatten(2, {2, x.size(1)})
                                     .transpose(1, 2)
                                     .flatten(0, 2);
      y = at::cat({x.slice(0, 0, batch_), doubled});
    }
    return conv(name + ".resample.1", at::upsample_nearest2d(y, {2 * y.size(2), 2 * y.size(3)}));
  }

 private:
  at::Tensor time_weight(const std::string& name) const {
    const at::Tensor& weight = get(name + ".time_conv.weight");  // [out, in, 3, 1, 1]
    return weight.permute({0, 2, 1, 3, 4}).reshape({weight.size(0), 3 * weight.size(1), 1, 1});
  }

  const TensorMap& parameters_;
  int64_t batch_;
};

at::Tensor fold_time(const at::Tensor& video) {  // [B, C, T, H, W] -> [T * B, C, H, W]
  return video.permute({2, 0, 1, 3, 4}).flatten(0, 1).contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor unfold_time(const at::Tensor& x, int64_t batch) {
  return x.unflatten(0, {x.size(0) / batch, batch}).permute({1, 2, 0, 3, 4});
}

// Names and shapes in the order of the published files.
class Initialiser {
 public:
  explicit Initialiser(at::Generator generator) : generator_(std::move(generator)) {}

  void conv(const std::string& name, int64_t in, int64_t out, std::vector<int64_t> kernel,
            double gain = 1.0) {
    std::vector<int64_t> shape{out, in};
    int64_t fan_in = in;
    for (const int64_t size : kernel) {
      shape.push_back(size);
      fan_in *= size;
    }
    map_[name + ".weight"] =
        at::randn(shape, generator_, at::kFloat) * (gain / std::sqrt(static_cast<double>(fan_in)));
    map_[name + ".bias"] = at::zeros({out});
  }
  void residual(const std::string& name, int64_t in, int64_t out) {
    map_[name + ".residual.0.gamma"] = at::ones({in, 1, 1, 1});
    conv(name + ".residual.2", in, out, {3, 3, 3}, 1.4);
    map_[name + ".residual.3.gamma"] = at::ones({out, 1, 1, 1});
    conv(name + ".residual.6", out, out, {3, 3, 3}, 0.5);
    if (in != out) conv(name + ".shortcut", in, out, {1, 1, 1});
  }
  void middle(const std::string& name, int64_t width) {
    residual(name + ".0", width, width);
    map_[name + ".1.norm.gamma"] = at::ones({width, 1, 1});
    conv(name + ".1.to_qkv", width, 3 * width, {1, 1});
    conv(name + ".1.proj", width, width, {1, 1}, 0.1);
    residual(name + ".2", width, width);
  }
  void head(const std::string& name, int64_t in, int64_t out) {
    map_[name + ".0.gamma"] = at::ones({in, 1, 1, 1});
    conv(name + ".2", in, out, {3, 3, 3});
  }
  TensorMap take() { return std::move(map_); }

 private:
  at::Generator generator_;
  TensorMap map_;
};

std::string numbered(const std::string& prefix, int64_t index) {
  return prefix + "." + std::to_string(index);
}

}  // namespace

TensorMap init_vae(const VaeClipConfig& config, at::Generator generator) {
  Initialiser init(std::move(generator));
  int64_t width = config.dim;
  init.conv("encoder.conv1", 3, width, {3, 3, 3});
  int64_t index = 0;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 2; ++block) {
      init.residual(numbered("encoder.downsamples", index++), width, config.dim * kDimMult[stage]);
      width = config.dim * kDimMult[stage];
    }
    if (stage == 3) break;
    const std::string name = numbered("encoder.downsamples", index++);
    init.conv(name + ".resample.1", width, width, {3, 3});
    if (kTemporalDownsample[stage]) init.conv(name + ".time_conv", width, width, {3, 1, 1});
  }
  init.middle("encoder.middle", width);
  init.head("encoder.head", width, 2 * config.z_dim);
  init.conv("conv1", 2 * config.z_dim, 2 * config.z_dim, {1, 1, 1});
  init.conv("conv2", config.z_dim, config.z_dim, {1, 1, 1});
  init.conv("decoder.conv1", config.z_dim, width, {3, 3, 3});
  init.middle("decoder.middle", width);
  index = 0;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const int64_t out = config.dim * kDimMult[3 - stage];
    for (int block = 0; block < 3; ++block) {
      init.residual(numbered("decoder.upsamples", index++), width, out);
      width = out;
    }
    if (stage == 3) break;
    const std::string name = numbered("decoder.upsamples", index++);
    if (kTemporalDownsample[2 - stage]) init.conv(name + ".time_conv", width, 2 * width, {3, 1, 1});
    init.conv(name + ".resample.1", width, width / 2, {3, 3}, 1.4);
    width /= 2;
  }
  init.head("decoder.head", width, 3);
  return init.take();
}

at::Tensor encode_clip(const VaeClipConfig& config, const TensorMap& parameters,
                       const at::Tensor& video) {
  MONARCH_CHECK(video.dim() == 5 && video.size(1) == 3 && video.size(2) % 4 == 1 &&
                    video.size(3) % 8 == 0 && video.size(4) % 8 == 0,
                "[monarch_training] a clip must be [B, 3, 1 + 4n, 8h, 8w], but is ",
                shape_string(video.sizes()));
  const int64_t batch = video.size(0);
  const Network net(parameters, batch);
  at::Tensor x = net.causal_conv("encoder.conv1", fold_time(video));
  int64_t index = 0;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 2; ++block)
      x = net.residual(numbered("encoder.downsamples", index++), x);
    if (stage < 3)
      x = net.down(numbered("encoder.downsamples", index++), x, kTemporalDownsample[stage]);
  }
  x = net.residual("encoder.middle.0", x);
  x = net.attention("encoder.middle.1", x);
  x = net.residual("encoder.middle.2", x);
  x = net.causal_conv("encoder.head.2", at::silu(net.norm("encoder.head.0", x)));
  return unfold_time(net.conv("conv1", x).slice(1, 0, config.z_dim), batch);
}

at::Tensor decode_clip(const VaeClipConfig& config, const TensorMap& parameters,
                       const at::Tensor& mean) {
  MONARCH_CHECK(mean.dim() == 5 && mean.size(1) == config.z_dim,
                "[monarch_training] latents must be [B, ", config.z_dim, ", F, h, w], but are ",
                shape_string(mean.sizes()));
  const int64_t batch = mean.size(0);
  const Network net(parameters, batch);
  at::Tensor x = net.causal_conv("decoder.conv1", net.conv("conv2", fold_time(mean)));
  x = net.residual("decoder.middle.0", x);
  x = net.attention("decoder.middle.1", x);
  x = net.residual("decoder.middle.2", x);
  int64_t index = 0;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 3; ++block)
      x = net.residual(numbered("decoder.upsamples", index++), x);
    if (stage < 3)
      x = net.up(numbered("decoder.upsamples", index++), x, kTemporalDownsample[2 - stage]);
  }
  x = net.causal_conv("decoder.head.2", at::silu(net.norm("decoder.head.0", x)));
  return unfold_time(x, batch);
}

}  // namespace monarch::training
