#include "monarch/attention/cuda/sm80/vmonarch_forward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch_vmonarch<F16, 96>(const VMonarchForwardArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
