#include "monarch/attention/cuda/sm80/vmonarch_forward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch_vmonarch<Bf16, 128>(const VMonarchForwardArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
