// The kernels of step_gradient_passes.cuh for one element type and head_dim, and their launch.
// Compiled once a (type, head_dim) by the small files beside this one.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string_view>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/step_backward_launch.h"
#include "monarch/attention/cuda/sm80/step_forward_launch.h"
#include "monarch/attention/cuda/sm80/step_gradient_passes.cuh"

namespace monarch::attention::cuda::sm80 {

template <typename Kernel>
__global__ void __launch_bounds__(kThreads, 1)
    step_gradient(const __grid_constant__ StepGradientArgs args) {
  Kernel(args).run();
}

template <typename T, int kHeadDim>
void launch_step_backward(const StepGradientArgs& all, Stream stream) {
  gradient_passes<T, kHeadDim>(
      all, [&](const StepArgs& step, bool last) { launch_step<T, kHeadDim>(step, last, stream); },
      [&]<typename Kernel>(std::string_view name, const StepGradientArgs& args, std::int64_t blocks,
                           int shared_bytes) {
        queue(step_gradient<Kernel>, args,
              {name, blocks, kThreads, static_cast<std::size_t>(shared_bytes)}, stream);
      });
}

}  // namespace monarch::attention::cuda::sm80
