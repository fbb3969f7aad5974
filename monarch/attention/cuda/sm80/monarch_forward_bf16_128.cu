#include "monarch/attention/cuda/sm80/monarch_forward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch<Bf16, 128, 1>(const MonarchForwardArgs& args, Stream stream);
template void launch<Bf16, 128, 2>(const MonarchForwardArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
