// The kernels of monarch_forward.cuh for one element type and head_dim, and their launch. Compiled
// once a (type, head_dim) by the small files beside this one, for sm_90a alone.
#pragma once

#include <cuda_runtime.h>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/merge_splits.cuh"
#include "monarch/attention/cuda/sm90/monarch_forward.cuh"
#include "monarch/attention/cuda/sm90/monarch_forward_launch.h"

namespace monarch::attention::cuda::sm90 {

template <typename T, int kHeadDim, int kRowFragments>
__global__ void __launch_bounds__(kThreads, 1)
    monarch_forward_kernel(const __grid_constant__ MonarchSm90Args args) {
  monarch_forward<T, kHeadDim, kRowFragments>(args);
}

// Of a name of its own: the linker would take sm80's and this one for the same.
template <typename T>
__global__ void __launch_bounds__(sm80::kThreads)
    merge_splits_kernel(const __grid_constant__ MonarchForwardArgs args) {
  sm80::merge_splits<T>(args);
}

template <typename T, int kHeadDim, int kRowFragments>
void launch(const MonarchSm90Args& args, Stream stream) {
  const MonarchForwardArgs& g = args.forward;
  queue(monarch_forward_kernel<T, kHeadDim, kRowFragments>, args,
        {"monarch_forward (sm_90a)", g.num_blocks, kThreads, g.shared.bytes, args.cluster}, stream);
  if (g.num_splits == 1) return;
  const std::int64_t rows = std::int64_t{g.batch} * g.num_heads * g.q_tokens;
  queue(merge_splits_kernel<T>, g,
        {"merge_splits (sm_90a)", (rows + sm80::kWarps - 1) / sm80::kWarps, sm80::kThreads, 0},
        stream);
}

}  // namespace monarch::attention::cuda::sm90
