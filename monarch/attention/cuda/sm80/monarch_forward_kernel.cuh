// The kernels of monarch_forward.cuh for one element type and head_dim, and their launch. Compiled
// once a (type, head_dim) by the small files beside this one.
#pragma once

#include <cuda_runtime.h>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/merge_splits.cuh"
#include "monarch/attention/cuda/sm80/monarch_forward.cuh"
#include "monarch/attention/cuda/sm80/monarch_forward_launch.h"

namespace monarch::attention::cuda::sm80 {

// Two blocks a multiprocessor where 16 rows leave the registers for it.
template <typename T, int kHeadDim, int kRowFragments>
__global__ void __launch_bounds__(kThreads, kRowFragments == 1 ? 2 : 1)
    monarch_forward(const __grid_constant__ MonarchForwardArgs args) {
  MonarchForwardBlock<T, kHeadDim, kRowFragments>(args).run();
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    merge_monarch_splits(const __grid_constant__ MonarchForwardArgs args) {
  merge_splits<T>(args);
}

template <typename T, int kHeadDim, int kRowFragments>
void launch(const MonarchForwardArgs& args, Stream stream) {
  queue(monarch_forward<T, kHeadDim, kRowFragments>, args,
        {"monarch_forward", args.num_blocks, kThreads, args.shared.bytes}, stream);
  if (args.num_splits == 1) return;
  const std::int64_t rows = std::int64_t{args.batch} * args.num_heads * args.q_tokens;
  queue(merge_monarch_splits<T>, args,
        {"merge_monarch_splits", (rows + kWarps - 1) / kWarps, kThreads, 0}, stream);
}

}  // namespace monarch::attention::cuda::sm80
