// The functions of one instruction set; compiled once for each.
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
std::size_t dense_backward_workspace(const DenseBackwardArgs& args);
std::int64_t gradient_query_tile();
void dense_backward(const DenseBackwardArgs& args, std::int64_t task, float* workspace);
void store_rows(const StoreRowsArgs& args, std::int64_t first, std::int64_t last);
void norm_rope(const NormRopeArgs& args, std::int64_t batch, std::int64_t token,
               std::int64_t out_token, std::int64_t count);
void norm_rope_backward(const NormRopeBackwardArgs& args, std::int64_t batch, std::int64_t token,
                        std::int64_t count, float* grad_weight);

std::size_t step_rows_workspace(const StepArgs& args);
std::size_t step_columns_workspace(const StepArgs& args);
std::size_t step_rows_backward_workspace(const StepArgs& args);
std::size_t step_columns_backward_workspace(const StepArgs& args);
std::int64_t step_row_tile();
std::int64_t step_key_tile();
std::int64_t step_padded(std::int64_t cols);
void step_rows(const StepArgs& args, std::int64_t task, float* workspace);
void step_columns(const StepArgs& args, std::int64_t task, float* workspace);
void step_rows_backward(const StepArgs& args, std::int64_t task, float* workspace);
void step_columns_backward(const StepArgs& args, std::int64_t task, float* workspace);

namespace {

std::size_t step_workspace(const StepArgs& args, bool backward) {
  std::size_t most = 0;
  const auto need = [&](std::size_t floats) { most = floats > most ? floats : most; };
  need(step_rows_workspace(args));
  need(step_columns_workspace(args));
  if (backward) {
    need(step_rows_backward_workspace(args));
    need(step_columns_backward_workspace(args));
  }
  return most;
}

}  // namespace

const Kernels kKernels{.monarch_forward_workspace = monarch_forward_workspace,
                       .monarch_forward = monarch_forward,
                       .vmonarch_forward_workspace = vmonarch_forward_workspace,
                       .vmonarch_forward_shared = vmonarch_forward_shared,
                       .vmonarch_row_tile = vmonarch_row_tile,
                       .vmonarch_rows = vmonarch_rows,
                       .vmonarch_columns = vmonarch_columns,
                       .dense_forward_workspace = dense_forward_workspace,
                       .dense_query_tile = dense_query_tile,
                       .dense_forward = dense_forward,
                       .dense_backward_workspace = dense_backward_workspace,
                       .gradient_query_tile = gradient_query_tile,
                       .dense_backward = dense_backward,
                       .store_rows = store_rows,
                       .step_workspace = step_workspace,
                       .step_row_tile = step_row_tile,
                       .step_key_tile = step_key_tile,
                       .step_padded = step_padded,
                       .step_rows = step_rows,
                       .step_columns = step_columns,
                       .step_rows_backward = step_rows_backward,
                       .step_columns_backward = step_columns_backward,
                       .norm_rope = norm_rope,
                       .norm_rope_backward = norm_rope_backward};

}  // namespace monarch::attention::cpu::MONARCH_ISA
