#include "monarch/attention/cuda/sm80/norm_rope_gradient.cuh"

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/norm_rope_launch.h"

namespace monarch::attention::cuda::sm80 {

template <typename T>
__global__ void __launch_bounds__(kNormThreads, 2)
    norm_rope_gradient(const __grid_constant__ NormRopeGradientArgs args) {
  NormRopeGradient<T>(args).run();
}
__global__ void __launch_bounds__(kNormThreads)
    norm_weight_sums(const __grid_constant__ NormRopeGradientArgs args) {
  add_weight_sums(args);
}

void launch_norm_rope_gradient(const NormRopeGradientArgs& args, DType dtype, Stream stream) {
  const bool bf16 = dtype == DType::kBF16;
  queue(bf16 ? norm_rope_gradient<Bf16> : norm_rope_gradient<F16>, args,
        {"norm_rope_gradient", args.num_blocks, kNormThreads, kNormGradientSharedBytes}, stream);
  if (args.weight == nullptr) return;
  queue(norm_weight_sums, args,
        {"norm_weight_sums", (args.channels + kNormThreads - 1) / kNormThreads, kNormThreads, 0},
        stream);
}

}  // namespace monarch::attention::cuda::sm80
