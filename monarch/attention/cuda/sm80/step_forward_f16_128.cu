#include "monarch/attention/cuda/sm80/step_forward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch_step_forward<F16, 128>(const StepArgs& args, Stream stream);
template void launch_step<F16, 128>(const StepArgs& args, bool last, Stream stream);

}  // namespace monarch::attention::cuda::sm80
