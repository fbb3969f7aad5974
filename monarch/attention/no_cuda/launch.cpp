// The entry points of cuda/launch.h in a build without CUDA.
#include "monarch/attention/cuda/launch.h"

#include "monarch/base/error.h"

namespace monarch::attention::cuda {
namespace {

[[noreturn]] void refuse() {
  fail(ErrorCode::kUnsupported,
       "[monarch_attention] built without CUDA kernels; configure with the preset 'cuda' or "
       "-DMONARCH_CUDA=ON");
}

}  // namespace

DeviceLimits current_device_limits() { refuse(); }

void launch_monarch_forward(const MonarchForwardArgs& /*args*/, DType /*dtype*/,
                            Stream /*stream*/) {
  refuse();
}

void launch_monarch_sm90(const MonarchSm90Args& /*args*/, DType /*dtype*/, Stream /*stream*/) {
  refuse();
}

TensorMap encode_tensor_map(const TensorTiles& /*tiles*/, DType /*dtype*/) { refuse(); }

void launch_monarch_backward(const MonarchBackwardArgs& /*args*/, DType /*dtype*/,
                             Stream /*stream*/) {
  refuse();
}

void launch_step_forward(const StepArgs& /*args*/, DType /*dtype*/, Stream /*stream*/) { refuse(); }

void launch_step_backward(const StepGradientArgs& /*args*/, DType /*dtype*/, Stream /*stream*/) {
  refuse();
}

void launch_norm_rope_gradient(const NormRopeGradientArgs& /*args*/, DType /*dtype*/,
                               Stream /*stream*/) {
  refuse();
}

void launch_modulate(const ModulateArgs& /*args*/, DType /*dtype*/, Stream /*stream*/) { refuse(); }

void launch_modulate_gradient(const ModulateGradientArgs& /*args*/, DType /*dtype*/,
                              Stream /*stream*/) {
  refuse();
}

void launch_norm_rope(const NormRopeArgs& /*args*/, DType /*dtype*/, Stream /*stream*/) {
  refuse();
}

}  // namespace monarch::attention::cuda
