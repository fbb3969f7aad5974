// Queues a kernel; errors of the CUDA runtime say what was launched.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {

struct LaunchShape {
  std::string_view kernel;
  std::int64_t blocks = 0;
  int threads = 0;
  std::size_t shared_bytes = 0;
};

inline void check_launch(cudaError_t status, const LaunchShape& shape) {
  if (status == cudaSuccess) return;
  fail(status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kInternal,
       "[monarch_attention] CUDA kernel ", shape.kernel, " of ", shape.blocks, " blocks x ",
       shape.threads, " threads with ", shape.shared_bytes,
       " bytes of shared memory: ", cudaGetErrorString(status));
}

template <typename Args>
void queue(void (*kernel)(Args), const Args& args, const LaunchShape& shape, Stream stream) {
  check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shape.shared_bytes)),
               shape);
  kernel<<<static_cast<unsigned>(shape.blocks), shape.threads, shape.shared_bytes,
           static_cast<cudaStream_t>(stream)>>>(args);
  check_launch(cudaGetLastError(), shape);
}

}  // namespace monarch::attention::cuda
