#include "monarch/models/wan/vae_layers.h"

#include <algorithm>
#include <cmath>

#include "monarch/models/wan/causal_conv_autograd.h"

namespace monarch::models {

at::Tensor vae_rms_norm(const at::Tensor& x, const at::Tensor& gamma) {
  const auto sum_type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor norm =
      at::linalg_vector_norm(x, 2, {-1}, /*keepdim=*/true, sum_type).clamp_min(1e-12);
  const double root = std::sqrt(static_cast<double>(x.size(-1)));
  return ((x / norm) * (gamma * root)).to(x.scalar_type());
}

CausalConv3d VaeBuilder::conv3x3x3(const std::string& name, int64_t in, int64_t out) {
  return {reader.take(name + ".weight", {out, in, 3, 3, 3}),
          reader.take(name + ".bias", {out}),
          {1, 1, 1}};
}

CausalConv3d VaeBuilder::conv1x1x1(const std::string& name, int64_t in, int64_t out) {
  return {reader.take(name + ".weight", {out, in, 1, 1, 1}),
          reader.take(name + ".bias", {out}),
          {0, 0, 0}};
}

at::Tensor VaeBuilder::gamma(const std::string& name, int64_t width, bool images) {
  const Shape shape = images ? Shape{width, 1, 1} : Shape{width, 1, 1, 1};
  return reader.take(name + ".gamma", shape).view({width});
}

VaeNormConv::VaeNormConv(VaeBuilder& builder, const std::string& norm_name,
                         const std::string& conv_name, int64_t in, int64_t out)
    : gamma_(builder.gamma(norm_name, in)),
      conv_(builder.conv3x3x3(conv_name, in, out)),
      slot_(builder.num_slots++) {}

at::Tensor VaeNormConv::forward(const at::Tensor& x, VaeStream& stream,
                                const at::Tensor& residual) const {
  at::Tensor& slot = stream.slots[slot_];
  if (fast_conv_serves({&x, &gamma_, &conv_.weight(), &conv_.bias(), &slot, &residual})) {
    return forward_fast(x.contiguous(), slot, residual);
  }
  const at::Tensor active =
      kernels_serve({&x, &gamma_}) ? norm_silu(x, gamma_) : at::silu(vae_rms_norm(x, gamma_));
  const at::Tensor out = conv_.forward(active, slot);
  slot = last_two_frames(active, slot);
  return residual.defined() ? out + residual : out;
}

// The activated frames are written once, the last two of them to where the next chunk looks for
// them.
at::Tensor VaeNormConv::forward_fast(const at::Tensor& x, at::Tensor& slot,
                                     const at::Tensor& residual) const {
  const int64_t num_frames = x.size(1);
  const int64_t num_last = std::min<int64_t>(num_frames, 2);
  const at::Tensor before = slot;
  at::Tensor last = at::empty({x.size(0), 2, x.size(2), x.size(3), x.size(4)}, x.options());
  FrameList frames(x.size(0));
  if (before.defined()) {
    frames.append(before);
  } else {
    frames.append_zeros(2);
  }
  at::Tensor earlier;
  if (num_frames > 2) {
    const at::Tensor from = x.narrow(1, 0, num_frames - 2);
    earlier = at::empty(from.sizes(), x.options());
    fast_norm_silu(from, gamma_, earlier);
    frames.append(earlier);
  }
  fast_norm_silu(x.narrow(1, num_frames - num_last, num_last), gamma_,
                 last.narrow(1, 2 - num_last, num_last));
  frames.append(last.narrow(1, 2 - num_last, num_last));
  if (num_frames == 1) {
    const at::Tensor kept = last.narrow(1, 0, 1);
    before.defined() ? kept.copy_(before.narrow(1, 1, 1)) : kept.zero_();
  }
  at::Tensor out = fast_conv(frames, packed_, conv_.weight(), conv_.bias(), x.size(2), x.size(3),
                             /*upsample=*/false, residual);
  slot = last;
  return out;
}

VaeConv::VaeConv(VaeBuilder& builder, const std::string& name, int64_t in, int64_t out)
    : conv_(builder.conv3x3x3(name, in, out)), slot_(builder.num_slots++) {}

at::Tensor VaeConv::forward(const at::Tensor& x, VaeStream& stream) const {
  at::Tensor& slot = stream.slots[slot_];
  at::Tensor out;
  if (fast_conv_serves({&x, &conv_.weight(), &conv_.bias(), &slot})) {
    FrameList frames(x.size(0));
    slot.defined() ? frames.append(slot) : frames.append_zeros(2);
    const at::Tensor contiguous = x.contiguous();
    frames.append(contiguous);
    out = fast_conv(frames, packed_, conv_.weight(), conv_.bias(), x.size(2), x.size(3),
                    /*upsample=*/false);
  } else {
    out = conv_.forward(x, slot);
  }
  slot = last_two_frames(x, slot);
  return out;
}

VaeResidual::VaeResidual(VaeBuilder& builder, const std::string& name, int64_t in, int64_t out)
    : first_(builder, name + ".residual.0", name + ".residual.2", in, out),
      second_(builder, name + ".residual.3", name + ".residual.6", out, out),
      has_shortcut_(in != out) {
  if (has_shortcut_) shortcut_ = builder.conv1x1x1(name + ".shortcut", in, out);
}

at::Tensor VaeResidual::forward(const at::Tensor& x, VaeStream& stream) const {
  const at::Tensor residual = has_shortcut_ ? shortcut_.forward(x) : x;
  return second_.forward(first_.forward(x, stream), stream, residual);
}

VaeAttention::VaeAttention(VaeBuilder& builder, const std::string& name, int64_t width)
    : gamma_(builder.gamma(name + ".norm", width, /*images=*/true)),
      qkv_weight_(builder.reader.take(name + ".to_qkv.weight", {3 * width, width, 1, 1})
                      .view({3 * width, width})),
      qkv_bias_(builder.reader.take(name + ".to_qkv.bias", {3 * width})),
      out_weight_(
          builder.reader.take(name + ".proj.weight", {width, width, 1, 1}).view({width, width})),
      out_bias_(builder.reader.take(name + ".proj.bias", {width})) {}

at::Tensor VaeAttention::forward(const at::Tensor& x) const {
  const int64_t width = x.size(4);
  const at::Tensor tokens =
      x.reshape({x.size(0) * x.size(1), 1, x.size(2) * x.size(3), width});  // one head
  const auto qkv =
      at::linear(vae_rms_norm(tokens, gamma_), qkv_weight_, qkv_bias_).split(width, -1);
  const at::Tensor mixed =
      at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);  // scale 1/sqrt(C)
  return x + at::linear(mixed, out_weight_, out_bias_).view(x.sizes());
}

VaeMiddle::VaeMiddle(VaeBuilder& builder, const std::string& name, int64_t width)
    : first_(builder, name + ".0", width, width),
      attention_(builder, name + ".1", width),
      second_(builder, name + ".2", width, width) {}

at::Tensor VaeMiddle::forward(const at::Tensor& x, VaeStream& stream) const {
  return second_.forward(attention_.forward(first_.forward(x, stream)), stream);
}

VaeDownsample::VaeDownsample(VaeBuilder& builder, const std::string& name, int64_t width,
                             bool in_time)
    : weight_(builder.reader.take(name + ".resample.1.weight", {width, width, 3, 3})),
      bias_(builder.reader.take(name + ".resample.1.bias", {width})),
      in_time_(in_time) {
  if (!in_time) return;
  time_conv_ =
      CausalConv3d(builder.reader.take(name + ".time_conv.weight", {width, width, 3, 1, 1}),
                   builder.reader.take(name + ".time_conv.bias", {width}), {0, 0, 0}, {2, 1, 1});
  slot_ = builder.num_slots++;
}

at::Tensor VaeDownsample::forward(const at::Tensor& x, VaeStream& stream) const {
  const at::Tensor small =
      conv2d_frames(x, weight_, bias_, /*pad_before=*/0, /*pad_behind=*/1, /*stride=*/2);
  if (!in_time_) return small;
  at::Tensor& slot = stream.slots[slot_];
  const at::Tensor before = slot;
  slot = small.narrow(1, small.size(1) - 1, 1).clone();
  return stream.first_chunk ? small : time_conv_.forward(at::cat({before, small}, 1));
}

VaeUpsample::VaeUpsample(VaeBuilder& builder, const std::string& name, int64_t width, bool in_time)
    : weight_(builder.reader.take(name + ".resample.1.weight", {width / 2, width, 3, 3})),
      bias_(builder.reader.take(name + ".resample.1.bias", {width / 2})),
      in_time_(in_time) {
  if (!in_time) return;
  time_conv_ =
      CausalConv3d(builder.reader.take(name + ".time_conv.weight", {2 * width, width, 3, 1, 1}),
                   builder.reader.take(name + ".time_conv.bias", {2 * width}), {1, 0, 0});
  slot_ = builder.num_slots++;
}

at::Tensor VaeUpsample::forward(const at::Tensor& x, VaeStream& stream) const {
  at::Tensor frames = x.contiguous();
  // The first chunk passes as it is and leaves nothing behind: the second sees zero frames in
  // front.
  if (in_time_ && !stream.first_chunk) {
    at::Tensor& slot = stream.slots[slot_];
    const at::Tensor doubled =
        time_conv_.forward(x, slot);  // [B, T, H, W, 2C]: channels (2, C) are two frames
    slot = last_two_frames(x, slot);
    frames = doubled.view({x.size(0), x.size(1), x.size(2), x.size(3), 2, x.size(4)})
                 .permute({0, 1, 4, 2, 3, 5})
                 .reshape({x.size(0), 2 * x.size(1), x.size(2), x.size(3), x.size(4)})
                 .contiguous();  // of a single frame, reshape makes a view
  }
  if (fast_conv_serves({&frames, &weight_, &bias_})) {
    FrameList list(frames.size(0));
    list.append(frames);
    return fast_conv(list, packed_, weight_, bias_, frames.size(2), frames.size(3),
                     /*upsample=*/true);
  }
  const at::Tensor large =  // nearest neighbour: each pixel becomes 2x2
      frames.unsqueeze(3)
          .unsqueeze(5)
          .expand({frames.size(0), frames.size(1), frames.size(2), 2, frames.size(3), 2,
                   frames.size(4)})
          .reshape({frames.size(0), frames.size(1), 2 * frames.size(2), 2 * frames.size(3),
                    frames.size(4)});
  return conv2d_frames(large, weight_, bias_, /*pad_before=*/1, /*pad_behind=*/1, /*stride=*/1);
}

}  // namespace monarch::models
