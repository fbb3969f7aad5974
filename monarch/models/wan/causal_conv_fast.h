// The VAE's convolutions through the CPU kernels of causal_conv_kernels.h: float32, no gradient.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "monarch/models/wan/causal_conv_kernels.h"

namespace monarch::models {

// Whether the kernels serve this call: CPU, float32, and nothing here records gradients.
bool fast_conv_serves(std::initializer_list<const at::Tensor*> tensors);

// Transformed weights of one convolution, made at the first use and again after the weights have
// changed. Thread-safe.
class PackedConv {
 public:
  // weight [out, in, taps, 3, 3] or [out, in, 3, 3]. The result is valid as long as it is held.
  std::shared_ptr<const std::vector<float>> get(const at::Tensor& weight,
                                                const conv_kernels::WinogradProblem& problem) const;

 private:
  struct State;
  std::shared_ptr<State> state_ = make_state();
  static std::shared_ptr<State> make_state();
};

// A list of frames of a batch: pointers [B][frames] to [H, W, C], null for a frame of zeros.
struct FrameList {
  std::vector<std::vector<const float*>> frames;

  explicit FrameList(int64_t batch) : frames(static_cast<size_t>(batch)) {}
  void append_zeros(int64_t count);
  void append(const at::Tensor& x);  // [B, T, H, W, C], contiguous; must outlive the list
};

// Convolution with kernel 3x3 and padding 1 in space over `taps` frames: T = frames - taps + 1
// output frames. Returns [B, T, H, W, out], plus `residual` of that shape if it is defined.
at::Tensor fast_conv(const FrameList& inputs, const PackedConv& packed, const at::Tensor& weight,
                     const at::Tensor& bias, int64_t height, int64_t width,  // of the input
                     bool upsample, const at::Tensor& residual = {});

// RMS norm over channels and SiLU of x [B, T, H, W, C] frame by frame into `to` [B, T, H, W, C],
// contiguous in each sample.
void fast_norm_silu(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& to);

}  // namespace monarch::models
