#include "monarch/attention/cuda/sm80/norm_rope.cuh"

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/norm_rope_launch.h"

namespace monarch::attention::cuda::sm80 {

template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    norm_rope(const __grid_constant__ NormRopeArgs args) {
  NormRope<T>(args).run();
}

void launch_norm_rope(const NormRopeArgs& args, DType dtype, Stream stream) {
  queue(dtype == DType::kBF16 ? norm_rope<Bf16> : norm_rope<F16>, args,
        {"norm_rope", args.num_blocks, kNormThreads, kNormSharedBytes}, stream);
}

}  // namespace monarch::attention::cuda::sm80
