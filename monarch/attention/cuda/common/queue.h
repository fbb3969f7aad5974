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
  int cluster = 1;  // blocks
};

inline void check_launch(cudaError_t status, const LaunchShape& shape) {
  if (status == cudaSuccess) return;
  fail(status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kInternal,
       "[monarch_attention] CUDA kernel ", shape.kernel, " of ", shape.blocks, " blocks x ",
       shape.threads, " threads in clusters of ", shape.cluster, " with ", shape.shared_bytes,
       " bytes of shared memory: ", cudaGetErrorString(status));
}

template <typename Args>
void queue(void (*kernel)(Args), const Args& args, const LaunchShape& shape, Stream stream) {
  check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shape.shared_bytes)),
               shape);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &cluster;
  config.numAttrs = shape.cluster > 1 ? 1 : 0;
  check_launch(cudaLaunchKernelEx(&config, kernel, args), shape);
}

}  // namespace monarch::attention::cuda
