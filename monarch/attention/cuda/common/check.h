// Errors of the CUDA runtime, with what was launched.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

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

}  // namespace monarch::attention::cuda
