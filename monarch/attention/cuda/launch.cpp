#include "monarch/attention/cuda/launch.h"

#include <cuda_runtime.h>

#include "monarch/attention/cuda/sm80/dispatch.h"
#include "monarch/attention/cuda/sm80/modulate_launch.h"
#include "monarch/attention/cuda/sm80/monarch_backward_launch.h"
#include "monarch/attention/cuda/sm80/monarch_forward_launch.h"
#include "monarch/attention/cuda/sm80/norm_rope_launch.h"
#include "monarch/attention/cuda/sm80/step_backward_launch.h"
#include "monarch/attention/cuda/sm80/step_forward_launch.h"
#include "monarch/attention/cuda/sm90/monarch_forward_launch.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {

DeviceLimits current_device_limits() {
  int device = 0;
  DeviceLimits limits;
  const auto check = [](cudaError_t status) {
    MONARCH_CHECK_CODE(
        status == cudaSuccess, kUnsupported,
        "[monarch_attention] no CUDA device can be used: ", cudaGetErrorString(status));
  };
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount, device));
  check(cudaDeviceGetAttribute(&limits.shared_bytes_per_block,
                               cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  limits.compute_capability = 10 * major + minor;
  return limits;
}

void launch_monarch_forward(const MonarchForwardArgs& args, DType dtype, Stream stream) {
  sm80::dispatch_monarch_forward(args, dtype, [&]<typename T, int kHeadDim, int kRowFragments>() {
    sm80::launch<T, kHeadDim, kRowFragments>(args, stream);
  });
}

void launch_monarch_sm90(const MonarchSm90Args& args, DType dtype, Stream stream) {
  sm80::dispatch_monarch_forward(args.forward, dtype,
                                 [&]<typename T, int kHeadDim, int kRowFragments>() {
                                   sm90::launch<T, kHeadDim, kRowFragments>(args, stream);
                                 });
}

void launch_monarch_backward(const MonarchBackwardArgs& args, DType dtype, Stream stream) {
  sm80::dispatch_head_dim(args.forward.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    sm80::launch_backward<T, kHeadDim>(args, stream);
  });
}

void launch_step_forward(const StepArgs& args, DType dtype, Stream stream) {
  sm80::dispatch_head_dim(args.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    sm80::launch_step_forward<T, kHeadDim>(args, stream);
  });
}

void launch_step_backward(const StepGradientArgs& args, DType dtype, Stream stream) {
  sm80::dispatch_head_dim(args.step.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    sm80::launch_step_backward<T, kHeadDim>(args, stream);
  });
}

void launch_norm_rope(const NormRopeArgs& args, DType dtype, Stream stream) {
  sm80::launch_norm_rope(args, dtype, stream);
}

void launch_norm_rope_gradient(const NormRopeGradientArgs& args, DType dtype, Stream stream) {
  sm80::launch_norm_rope_gradient(args, dtype, stream);
}

void launch_modulate(const ModulateArgs& args, DType dtype, Stream stream) {
  sm80::launch_modulate(args, dtype, stream);
}

void launch_modulate_gradient(const ModulateGradientArgs& args, DType dtype, Stream stream) {
  sm80::launch_modulate_gradient(args, dtype, stream);
}

}  // namespace monarch::attention::cuda
