#include "monarch/attention/cuda/sm80/monarch_backward_kernel.cuh"

namespace monarch::attention::cuda::sm80 {

template void launch_backward<F16, 96>(const MonarchBackwardArgs& args, Stream stream);

}  // namespace monarch::attention::cuda::sm80
