#include "monarch/attention/cuda/sm80/step_backward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch_step_backward<F16, 96>(const StepGradientArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
