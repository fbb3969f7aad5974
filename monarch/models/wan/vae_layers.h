// Building blocks of the Wan VAE over frames [B, T, H, W, C]. Each reads its parameters below
// `name` and claims its slots of the stream's cache when it is built.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "monarch/models/wan/causal_conv.h"
#include "monarch/models/wan/causal_conv_fast.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

// x / max(|x| over channels, 1e-12) * sqrt(C) * gamma; channels last. The norm is summed in float32
// for 16-bit types.
at::Tensor vae_rms_norm(const at::Tensor& x,       // [..., C]
                        const at::Tensor& gamma);  // [C]

// One chunk on its way through a stream.
struct VaeStream {
  std::vector<at::Tensor>& slots;
  bool first_chunk;
};

// Hands out cache slots while the layers are built.
struct VaeBuilder {
  WeightReader& reader;
  int64_t num_slots = 0;

  CausalConv3d conv3x3x3(const std::string& name, int64_t in, int64_t out);
  CausalConv3d conv1x1x1(const std::string& name, int64_t in, int64_t out);
  at::Tensor gamma(const std::string& name, int64_t width, bool images = false);  // [C]
};

// RMS norm, SiLU and causal 3x3x3 convolution; the convolution's input is cached.
class VaeNormConv {
 public:
  VaeNormConv(VaeBuilder& builder, const std::string& norm_name, const std::string& conv_name,
              int64_t in, int64_t out);
  // Adds `residual` [B, T, H, W, out] if it is defined.
  at::Tensor forward(const at::Tensor& x, VaeStream& stream, const at::Tensor& residual = {}) const;

 private:
  at::Tensor forward_fast(const at::Tensor& x, at::Tensor& slot, const at::Tensor& residual) const;

  at::Tensor gamma_;
  CausalConv3d conv_;
  PackedConv packed_;
  int64_t slot_;
};

// Causal 3x3x3 convolution with its cache slot.
class VaeConv {
 public:
  VaeConv(VaeBuilder& builder, const std::string& name, int64_t in, int64_t out);
  at::Tensor forward(const at::Tensor& x, VaeStream& stream) const;

 private:
  CausalConv3d conv_;
  PackedConv packed_;
  int64_t slot_;
};

// Two VaeNormConv and a shortcut.
class VaeResidual {
 public:
  VaeResidual(VaeBuilder& builder, const std::string& name, int64_t in, int64_t out);
  at::Tensor forward(const at::Tensor& x, VaeStream& stream) const;

 private:
  VaeNormConv first_, second_;
  bool has_shortcut_;
  CausalConv3d shortcut_;
};

// Attention of one head over the positions of each frame.
class VaeAttention {
 public:
  VaeAttention(VaeBuilder& builder, const std::string& name, int64_t width);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  at::Tensor gamma_;                                          // [C]
  at::Tensor qkv_weight_, qkv_bias_, out_weight_, out_bias_;  // [3C, C], [3C], [C, C], [C]
};

// Residual, attention, residual.
class VaeMiddle {
 public:
  VaeMiddle(VaeBuilder& builder, const std::string& name, int64_t width);
  at::Tensor forward(const at::Tensor& x, VaeStream& stream) const;

 private:
  VaeResidual first_;
  VaeAttention attention_;
  VaeResidual second_;
};

// Halves height and width; with `in_time` also the frame rate, except of the first chunk.
class VaeDownsample {
 public:
  VaeDownsample(VaeBuilder& builder, const std::string& name, int64_t width, bool in_time);
  at::Tensor forward(const at::Tensor& x, VaeStream& stream) const;

 private:
  at::Tensor weight_, bias_;
  bool in_time_;
  CausalConv3d time_conv_;
  int64_t slot_ = -1;
};

// Doubles height and width and halves the channels; with `in_time` also doubles the frame rate,
// except of the first chunk.
class VaeUpsample {
 public:
  VaeUpsample(VaeBuilder& builder, const std::string& name, int64_t width, bool in_time);
  at::Tensor forward(const at::Tensor& x, VaeStream& stream) const;

 private:
  at::Tensor weight_, bias_;
  PackedConv packed_;
  bool in_time_;
  CausalConv3d time_conv_;
  int64_t slot_ = -1;
};

}  // namespace monarch::models
