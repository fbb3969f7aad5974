// What plans need to know of a device, and the handle of a stream.
#pragma once

#include <string>

namespace monarch::attention::cuda {

// A cudaStream_t; null is the default stream.
using Stream = void*;

struct DeviceLimits {
  int multiprocessors = 0;
  int shared_bytes_per_block = 0;  // with opt-in: 99 KiB on sm_86 and sm_120, 227 on sm_90
  int compute_capability = 0;      // ten times the major number, and the minor one
};

// Of the current device. Throws kUnsupported without one, or in a build without CUDA.
DeviceLimits current_device_limits();

// Why no kernel can run on the current device, without the room's name in front; empty if they can.
std::string device_refusal();

}  // namespace monarch::attention::cuda
