// The kernels of a backward in order.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/sm80/gradient_kind.h"
#include "monarch/attention/cuda/sm80/row_key_gradients.cuh"
#include "monarch/attention/cuda/sm80/row_query_gradients.cuh"
#include "monarch/attention/cuda/sm80/step_column_gradients.cuh"
#include "monarch/attention/cuda/sm80/store_gradients.cuh"

namespace monarch::attention::cuda::sm80 {

// Calls launch.template operator()<Kernel>(name, args, blocks, shared_bytes); each block computes
// Kernel(args).run().
template <typename T, int kHeadDim, bool kLast, typename Launch>
void iteration_gradient_passes(const StepGradientArgs& args, const Launch& launch) {
  constexpr GradientKind kKind = kLast ? GradientKind::kLast : GradientKind::kEarlier;
  launch.template operator()<ColumnQueryGradients<T, kHeadDim, kLast>>(
      "column_query_gradients", args, column_blocks(args.step, args.step.queries), 0);
  launch.template operator()<ColumnKeyGradients<T, kHeadDim, kLast>>(
      "column_key_gradients", args, column_blocks(args.step, args.step.rows), 0);
  launch.template operator()<RowKeyGradients<T, kHeadDim, kKind>>(
      "row_key_gradients", args, key_gradient_blocks(args.step, kKind),
      key_gradient_shared_bytes(kHeadDim, kKind));
  launch.template operator()<RowQueryGradients<T, kHeadDim, kKind>>(
      "row_query_gradients", args, query_gradient_blocks(args.step, kKind),
      query_gradient_shared_bytes(kHeadDim, kKind));
}

// `recompute(args, last)` queues the forward's kernels of one iteration.
template <typename T, int kHeadDim, typename Recompute, typename Launch>
void gradient_passes(const StepGradientArgs& args, const Recompute& recompute,
                     const Launch& launch) {
  const int last = args.step.num_iters - 1;
  for (int t = 0; t <= last; ++t) recompute(at_iteration(args, t).step, t == last);
  iteration_gradient_passes<T, kHeadDim, true>(at_iteration(args, last), launch);
  for (int t = last - 1; t >= 0; --t) {
    iteration_gradient_passes<T, kHeadDim, false>(at_iteration(args, t), launch);
  }
  if (args.step.recomputed_tokens > 0) {
    constexpr GradientKind kDense = GradientKind::kDense;
    launch.template operator()<RowQueryGradients<T, kHeadDim, kDense>>(
        "row_query_gradients", args, query_gradient_blocks(args.step, kDense),
        query_gradient_shared_bytes(kHeadDim, kDense));
    launch.template operator()<RowKeyGradients<T, kHeadDim, kDense>>(
        "row_key_gradients", args, key_gradient_blocks(args.step, kDense),
        key_gradient_shared_bytes(kHeadDim, kDense));
  }
  launch.template operator()<StoreGradients<T>>("store_gradients", args,
                                                store_gradient_blocks(args.step), 0);
}

}  // namespace monarch::attention::cuda::sm80
