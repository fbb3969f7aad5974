// The kernels of flash_rows.cuh and step_columns.cuh for one element type and head_dim, and
// their launch. Compiled once a (type, head_dim) by the small files beside this one.
#pragma once

#include <cuda_runtime.h>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/flash_rows.cuh"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/sm80/step_columns.cuh"
#include "monarch/attention/cuda/sm80/step_forward_launch.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, FlashKind kKind>
__global__ void __launch_bounds__(kThreads, 1)
    step_flash_rows(const __grid_constant__ StepArgs args) {
  FlashRows<T, kHeadDim, kKind>(args).run();
}
// Operands and sums of a whole row tile are in registers: where there are sums, for one block.
template <typename T, int kHeadDim, ColumnPass kPass>
__global__ void __launch_bounds__(kThreads, kPass == ColumnPass::kLogSums ? 2 : 1)
    step_columns(const __grid_constant__ StepArgs args) {
  StepColumns<T, kHeadDim, kPass>(args).run();
}

// Calls passes(flash, columns) with what queues the kernels.
template <typename T, int kHeadDim, typename Passes>
void queue_step_passes(Stream stream, const Passes& passes) {
  passes(
      [&]<FlashKind kKind>(const StepArgs& args) {
        queue(step_flash_rows<T, kHeadDim, kKind>, args,
              {"step_flash_rows", flash_blocks(args, kKind), kThreads,
               static_cast<std::size_t>(flash_shared_bytes(kHeadDim, kKind))},
              stream);
      },
      [&]<ColumnPass kPass>(const StepArgs& args) {
        queue(step_columns<T, kHeadDim, kPass>, args,
              {"step_columns", column_blocks(args, kPass), kThreads, 0}, stream);
      });
}

template <typename T, int kHeadDim>
void launch_step_forward(const StepArgs& args, Stream stream) {
  queue_step_passes<T, kHeadDim>(stream, [&](const auto& flash, const auto& columns) {
    forward_passes(args, flash, columns);
  });
}
template <typename T, int kHeadDim>
void launch_step(const StepArgs& args, bool last, Stream stream) {
  queue_step_passes<T, kHeadDim>(stream, [&](const auto& flash, const auto& columns) {
    step_passes(args, last, flash, columns);
  });
}

}  // namespace monarch::attention::cuda::sm80
