// What plans need to know of a device, and the handle of a stream.
#pragma once

namespace monarch::attention::cuda {

// A cudaStream_t; null is the default stream.
using Stream = void*;

struct DeviceLimits {
  int multiprocessors = 0;
  int shared_bytes_per_block = 0;  // with opt-in: 99 KiB on sm_86 and sm_120, 227 on sm_90
};

// Of the current device. Throws kUnsupported without one, or in a build without CUDA.
DeviceLimits current_device_limits();

}  // namespace monarch::attention::cuda
