// The VAE's convolutions through the CPU kernels of causal_conv_kernels.h: float32, no gradient.
#pragma once

#include <ATen/ATen.h>

#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "monarch/models/wan/causal_conv_kernels.h"

namespace monarch::models {

// Whether the kernels can take these tensors: CPU and float32, or undefined.
bool kernels_serve(std::initializer_list<const at::Tensor*> tensors);

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

// The same with weights packed for `problem`; and the gradient [out, in, taps, 3, 3] of the weights
// for gradients of the T output frames. Contiguous frames; same inputs, same bits for any number of
// threads that is the same.
at::Tensor run_winograd(const FrameList& inputs, const conv_kernels::WinogradProblem& problem,
                        const float* packed, const at::Tensor& bias,
                        const at::Tensor& residual = {});
at::Tensor run_weight_gradient(const FrameList& inputs, const FrameList& gradients,
                               const conv_kernels::WinogradProblem& problem);

// RMS norm over channels and SiLU of x [B, T, H, W, C] frame by frame into `to` [B, T, H, W, C],
// contiguous in each sample.
void fast_norm_silu(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& to);

// Gradients of x and gamma; all contiguous.
std::pair<at::Tensor, at::Tensor> fast_norm_silu_backward(const at::Tensor& x,
                                                          const at::Tensor& gamma,
                                                          const at::Tensor& gradient);

}  // namespace monarch::models
