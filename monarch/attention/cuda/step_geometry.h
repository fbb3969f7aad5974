// The sizes of a problem as the kernels of step_args.h take them, checked.
#pragma once

#include <variant>

#include "monarch/attention/cuda/device_limits.h"
#include "monarch/attention/cuda/step_args.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

// What several iterations are made for.
using StepProblem = std::variant<MonarchProblem, VMonarchProblem>;

// Without pointers; heads is how many fill the device. Throws kInvalidArgument for a problem that
// validate() refuses, kUnsupported for a head_dim that is not a multiple of 8 up to 128, and 2^31
// tokens or thread blocks.
StepArgs step_geometry(const StepProblem& problem, const DeviceLimits& limits);
// Throws kUnsupported if a thread block cannot have them.
void check_shared_bytes(const StepArgs& args, int needed, const DeviceLimits& limits);

// Of the batches, heads and head_dim of the problem.
Sizes step_sizes(const StepProblem& problem, DType dtype);

// Entries of [units, rows, cols] and [units, queries, cols] of one head.
inline std::int64_t row_entries(const StepArgs& args) {
  return std::int64_t{args.q_blocks} * args.rows * args.cols;
}
inline std::int64_t query_entries(const StepArgs& args) {
  return std::int64_t{args.q_blocks} * args.queries * args.cols;
}

}  // namespace monarch::attention::cuda
