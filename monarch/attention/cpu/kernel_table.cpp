// The functions of one instruction set; compiled once for each.
#include "monarch/attention/cpu/kernels.h"

namespace monarch::attention::cpu::MONARCH_ISA {

std::size_t monarch_forward_workspace(const MonarchForwardArgs& args);
void monarch_forward(const MonarchForwardArgs& args, std::int64_t task, float* workspace);

std::size_t monarch_backward_workspace(const MonarchBackwardArgs& args);
void monarch_backward(const MonarchBackwardArgs& args, std::int64_t task, float* workspace);
std::size_t vmonarch_forward_workspace(const VMonarchForwardArgs& args);
std::size_t vmonarch_forward_shared(const VMonarchForwardArgs& args);
std::int64_t vmonarch_row_tile();
void vmonarch_rows(const VMonarchForwardArgs& args, std::int64_t task, float* workspace);
void vmonarch_columns(const VMonarchForwardArgs& args, std::int64_t task, float* workspace);
std::size_t dense_forward_workspace(const DenseForwardArgs& args);
std::int64_t dense_query_tile();
void dense_forward(const DenseForwardArgs& args, std::int64_t task, float* workspace);
std::size_t dense_backward_workspace(const DenseBackwardArgs& args);
std::int64_t dense_gradient_query_tile();
void dense_backward(const DenseBackwardArgs& args, std::int64_t task, float* workspace);
void store_rows(const StoreRowsArgs& args, std::int64_t first, std::int64_t last);

const Kernels kKernels{.monarch_forward_workspace = monarch_forward_workspace,
                       .monarch_forward = monarch_forward,
                       .monarch_backward_workspace = monarch_backward_workspace,
                       .monarch_backward = monarch_backward,
                       .vmonarch_forward_workspace = vmonarch_forward_workspace,
                       .vmonarch_forward_shared = vmonarch_forward_shared,
                       .vmonarch_row_tile = vmonarch_row_tile,
                       .vmonarch_rows = vmonarch_rows,
                       .vmonarch_columns = vmonarch_columns,
                       .dense_forward_workspace = dense_forward_workspace,
                       .dense_query_tile = dense_query_tile,
                       .dense_forward = dense_forward,
                       .dense_backward_workspace = dense_backward_workspace,
                       .dense_gradient_query_tile = dense_gradient_query_tile,
                       .dense_backward = dense_backward,
                       .store_rows = store_rows};

}  // namespace monarch::attention::cpu::MONARCH_ISA
