// The kernels of monarch_backward.cuh and gradient_pair.cuh for one element type and head_dim, and
// their launch. Compiled once a (type, head_dim) by the small files beside this one.
#pragma once

#include <cuda_runtime.h>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/gradient_pair.cuh"
#include "monarch/attention/cuda/sm80/monarch_backward.cuh"
#include "monarch/attention/cuda/sm80/monarch_backward_launch.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1)
    monarch_backward(const __grid_constant__ MonarchBackwardArgs args) {
  MonarchBackwardBlock<T, kHeadDim>(args).run();
}
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    monarch_key_gradients(const __grid_constant__ MonarchBackwardArgs args) {
  MonarchKeyGradients<T, kHeadDim>(args).run();
}
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    monarch_query_gradients(const __grid_constant__ MonarchBackwardArgs args) {
  MonarchQueryGradients<T, kHeadDim>(args).run();
}

template <typename T, int kHeadDim>
void launch_backward(const MonarchBackwardArgs& args, Stream stream) {
  const MonarchForwardArgs& forward = args.forward;
  const std::int64_t tiles = std::int64_t{args.units} * forward.column_tiles * forward.num_groups;
  queue(monarch_backward<T, kHeadDim>, args,
        {"monarch_backward", tiles, kThreads, forward.shared.bytes}, stream);
  queue(monarch_key_gradients<T, kHeadDim>, args,
        {"monarch_key_gradients", std::int64_t{args.units} * args.kv_rows * args.col_parts,
         kThreads, args.shared.bytes},
        stream);
  queue(monarch_query_gradients<T, kHeadDim>, args,
        {"monarch_query_gradients", tiles * forward.block_rows, kThreads, args.shared.bytes},
        stream);
}

}  // namespace monarch::attention::cuda::sm80
