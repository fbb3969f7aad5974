#include "monarch/attention/cuda/sm90/monarch_forward_kernel.cuh"

namespace monarch::attention::cuda::sm90 {

template void launch<Bf16, 96, 1>(const MonarchSm90Args& args, Stream stream);
template void launch<Bf16, 96, 2>(const MonarchSm90Args& args, Stream stream);

}  // namespace monarch::attention::cuda::sm90
