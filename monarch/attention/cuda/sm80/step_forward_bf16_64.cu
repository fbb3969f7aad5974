#include "monarch/attention/cuda/sm80/step_forward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch_step_forward<Bf16, 64>(const StepArgs& args, Stream stream);
template void launch_step<Bf16, 64>(const StepArgs& args, bool last, Stream stream);

}  // namespace monarch::attention::cuda::sm80
