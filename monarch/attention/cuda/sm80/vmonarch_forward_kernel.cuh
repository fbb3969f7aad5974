// The kernels of flash_rows.cuh and vmonarch_columns.cuh for one element type and head_dim, and
// their launch. Compiled once a (type, head_dim) by the small files beside this one.
#pragma once

#include <cuda_runtime.h>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/flash_rows.cuh"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/sm80/vmonarch_columns.cuh"
#include "monarch/attention/cuda/sm80/vmonarch_forward_launch.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, FlashKind kKind>
__global__ void __launch_bounds__(kThreads, 1)
    vmonarch_flash_rows(const __grid_constant__ VMonarchForwardArgs args) {
  FlashRows<T, kHeadDim, kKind>(args).run();
}
// Operands and sums of a whole row tile are in registers: where there are sums, for one block.
template <typename T, int kHeadDim, ColumnPass kPass>
__global__ void __launch_bounds__(kThreads, kPass == ColumnPass::kLogSums ? 2 : 1)
    vmonarch_columns(const __grid_constant__ VMonarchForwardArgs args) {
  VMonarchColumns<T, kHeadDim, kPass>(args).run();
}

template <typename T, int kHeadDim>
void launch_vmonarch(const VMonarchForwardArgs& args, Stream stream) {
  vmonarch_passes(
      args,
      [&]<FlashKind kKind>(const VMonarchForwardArgs& pass) {
        queue(vmonarch_flash_rows<T, kHeadDim, kKind>, pass,
              {"vmonarch_flash_rows", flash_blocks(pass, kKind), kThreads,
               static_cast<std::size_t>(flash_shared_bytes(kHeadDim, kKind))},
              stream);
      },
      [&]<ColumnPass kPass>(const VMonarchForwardArgs& pass) {
        queue(vmonarch_columns<T, kHeadDim, kPass>, pass,
              {"vmonarch_columns", column_blocks(pass), kThreads, 0}, stream);
      });
}

}  // namespace monarch::attention::cuda::sm80
