// Convolutions over frames that never look into the future.
//
// Activations of the VAE are kept as [B, T, H, W, C], contiguous: a frame is an image in
// channels-last order, which is what the fast 2D convolutions want, and concatenation in time
// copies whole frames.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>

namespace monarch::models {

// Zero padding in space as given; in time 2 * padding[0] frames in front and none behind, so that
// output frame t depends on input frames up to t only. Differentiable in x, cache, weight and bias;
// any float type, any device.
class CausalConv3d {
 public:
  using Sizes = std::array<int64_t, 3>;  // time, height, width

  CausalConv3d() = default;
  CausalConv3d(at::Tensor weight,  // [out, in, kt, kh, kw]
               at::Tensor bias,    // [out]
               Sizes padding, Sizes stride = {1, 1, 1});

  // `cache` [B, n, H, W, in] with n <= 2 * padding[0] are the frames before x; fewer (or an
  // undefined tensor) are completed by zero frames. Without time padding the cache has no effect.
  // Returns [B, T', H', W', out], contiguous.
  at::Tensor forward(const at::Tensor& x,  // [B, T, H, W, in]
                     const at::Tensor& cache = {}) const;

  const at::Tensor& weight() const { return weight_; }
  const at::Tensor& bias() const { return bias_; }
  int64_t in_channels() const { return weight_.size(1); }
  int64_t out_channels() const { return weight_.size(0); }

 private:
  at::Tensor forward_stacked(const at::Tensor& frames) const;
  at::Tensor forward_summed(const at::Tensor& frames) const;
  at::Tensor forward_conv3d(const at::Tensor& frames) const;

  at::Tensor weight_, bias_;
  Sizes padding_{}, stride_{};
};

// While one exists, this thread's convolutions and norms use Torch's operators even where our CPU
// kernels would serve: for comparison in tests and benchmarks.
class TorchConvGuard {
 public:
  TorchConvGuard();
  ~TorchConvGuard();
  TorchConvGuard(const TorchConvGuard&) = delete;
  TorchConvGuard& operator=(const TorchConvGuard&) = delete;

 private:
  bool before_;
};

// A 2D convolution of each frame. Zero padding before (top, left) and behind (bottom, right) may
// differ.
at::Tensor conv2d_frames(const at::Tensor& x,       // [B, T, H, W, in]
                         const at::Tensor& weight,  // [out, in, kh, kw]
                         const at::Tensor& bias,    // [out]
                         int64_t pad_before, int64_t pad_behind, int64_t stride);

// The last two frames of [cache, x], completed by zero frames in front: what the next chunk needs.
// The result owns its memory and keeps nothing else alive.
at::Tensor last_two_frames(const at::Tensor& x,       // [B, T, H, W, C]
                           const at::Tensor& cache);  // the same with 2 frames, or undefined

}  // namespace monarch::models
