// CPU kernels of the VAE's 3x3 convolutions over frames, as plain structs and function pointers:
// sources compiled per instruction set fill the table, the launch code picks one. Torch-free.
//
// Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv 1509.09308): a tile of 2x2 outputs needs 4x4 inputs
// d, and
//   Y = A^T [ Σ_taps Σ_in (G g G^T) ∘ (B^T d B) ] A
// with 16 multiplications a tile instead of 36. Each of the 16 positions is a matrix product over
// (tap, input channel) of transformed pixels and transformed weights; taps are the frames a causal
// convolution looks back to. All transforms are sums and halvings, so the error stays within about
// twice that of the plain sum.
//
// After nearest-neighbour doubling, the rows of a 4x4 tile are a, b, b, c: B^T d has a zero row,
// and 9 positions suffice.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monarch::models::conv_kernels {

struct WinogradProblem {
  // Of the output; of the input too, or twice the input's with `upsample`.
  int64_t height = 0, width = 0;
  int64_t in_channels = 0, out_channels = 0;
  int64_t taps = 1;       // input frames an output frame is made of
  bool upsample = false;  // doubles the input first; 1 tap only
};

struct WinogradArgs {
  WinogradProblem problem;
  int64_t num_frames = 0;  // T output frames
  // T + taps - 1 frames [height, width, in]; null is a frame of zeros.
  const float* const* inputs = nullptr;
  float* const* outputs = nullptr;          // T frames [height, width, out]
  const float* const* residuals = nullptr;  // T frames like the outputs, added to them; or null
  const float* packed = nullptr;            // from pack()
  const float* bias = nullptr;              // [out]
  int64_t tiles_per_task = 0;               // a multiple of 8
};

// For the gradient of the weights; not with `upsample`.
struct GradientArgs {
  WinogradProblem problem;
  int64_t num_frames = 0;                   // T
  const float* const* inputs = nullptr;     // as forwards
  const float* const* gradients = nullptr;  // T frames [height, width, out]
  int64_t tiles_per_task = 0;               // a multiple of 8
};

struct Kernels {
  int64_t (*packed_floats)(const WinogradProblem& problem);
  // weight[o * out_stride + c * in_stride + tap * 9 + ky * 3 + kx], or with all three kernel axes
  // reversed.
  void (*pack)(const WinogradProblem& problem, const float* weight, int64_t out_stride,
               int64_t in_stride, bool reversed, float* packed);
  int64_t (*workspace_floats)(const WinogradArgs& args);
  // Tiles [task * tiles_per_task, (task + 1) * tiles_per_task) of all frames. `workspace` is
  // aligned to 64 bytes.
  void (*run)(const WinogradArgs& args, int64_t task, float* workspace);

  // Weight gradient: add the tasks' parts to `sums` (gradient_floats, zeros at first), then unpack
  // them to [out, in, taps, 3, 3].
  int64_t (*gradient_floats)(const WinogradProblem& problem);
  int64_t (*gradient_workspace_floats)(const GradientArgs& args);
  void (*accumulate_gradient)(const GradientArgs& args, int64_t task, float* sums,
                              float* workspace);
  void (*unpack_gradient)(const WinogradProblem& problem, const float* sums, float* weight);

  // y = silu(x / max(|x|, 1e-12) * sqrt(C) * gamma) for `rows` pixels [rows, C].
  void (*norm_silu)(const float* x, const float* gamma, int64_t rows, int64_t channels, float* y);
  // dx [rows, C] of dy; adds to dgamma [C].
  void (*norm_silu_backward)(const float* x, const float* gamma, const float* dy, int64_t rows,
                             int64_t channels, float* dx, float* dgamma);
};

inline int64_t num_tiles(const WinogradProblem& problem) {
  return ((problem.height + 1) / 2) * ((problem.width + 1) / 2);
}

namespace generic {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}

// The best table this machine can run.
const Kernels& best_kernels();

}  // namespace monarch::models::conv_kernels
