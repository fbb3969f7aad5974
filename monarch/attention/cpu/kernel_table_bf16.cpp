// The functions of one instruction set that multiplies bf16 alone; compiled once for each.
#include "monarch/attention/cpu/kernels.h"

namespace monarch::attention::cpu::MONARCH_ISA {

std::size_t monarch_forward_workspace(const MonarchForwardArgs& args);
void monarch_forward(const MonarchForwardArgs& args, std::int64_t task, float* workspace);
std::size_t vmonarch_forward_workspace(const VMonarchForwardArgs& args);
std::size_t vmonarch_forward_shared(const VMonarchForwardArgs& args);
std::int64_t vmonarch_row_tile();
void vmonarch_rows(const VMonarchForwardArgs& args, std::int64_t task, float* workspace);
void vmonarch_columns(const VMonarchForwardArgs& args, std::int64_t task, float* workspace);
std::size_t dense_forward_workspace(const DenseForwardArgs& args);
std::int64_t dense_query_tile();
void dense_forward(const DenseForwardArgs& args, std::int64_t task, float* workspace);

constinit const Kernels kKernels = [] {
  Kernels table{};
  table.monarch_forward_workspace = monarch_forward_workspace;
  table.monarch_forward = monarch_forward;
  table.vmonarch_forward_workspace = vmonarch_forward_workspace;
  table.vmonarch_forward_shared = vmonarch_forward_shared;
  table.vmonarch_row_tile = vmonarch_row_tile;
  table.vmonarch_rows = vmonarch_rows;
  table.vmonarch_columns = vmonarch_columns;
  table.dense_forward_workspace = dense_forward_workspace;
  table.dense_query_tile = dense_query_tile;
  table.dense_forward = dense_forward;
  return table;
}();

}  // namespace monarch::attention::cpu::MONARCH_ISA
