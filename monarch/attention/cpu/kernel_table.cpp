// The functions of one instruction set; compiled once for each.
#include "monarch/attention/cpu/kernels.h"

namespace monarch::attention::cpu::MONARCH_ISA {

std::size_t monarch_forward_workspace(const MonarchForwardArgs& args);
void monarch_forward(const MonarchForwardArgs& args, std::int64_t task, float* workspace);

const Kernels kKernels{.monarch_forward_workspace = monarch_forward_workspace,
                       .monarch_forward = monarch_forward};

}  // namespace monarch::attention::cpu::MONARCH_ISA
