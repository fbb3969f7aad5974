// What the plans of all Monarch kernels share: the sizes of a problem, checked.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

// Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for num_iters > 1, a
// head_dim that is not a multiple of 8 up to 128, and 2^31 tokens.
MonarchForwardArgs monarch_geometry(const MonarchProblem& problem);

// Sets step_rows and stages to the most that `limit` bytes of shared memory hold: two key rows a
// step (twice the work between barriers) before more pieces in flight. False if nothing fits.
bool choose_ring(MonarchForwardArgs& args, int limit);
[[noreturn]] void refuse_block_cols(const MonarchForwardArgs& args, std::uint32_t needed,
                                    int limit);

}  // namespace monarch::attention::cuda
