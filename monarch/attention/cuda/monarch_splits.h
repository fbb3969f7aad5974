// What the plans of all fused Monarch forwards share: the split of key rows among thread blocks,
// and a call's tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cuda {

// Sets num_splits and num_blocks for `tiles` thread blocks without a split, of which the device
// runs `at_once`. Splits fill the last wave, and cost a round trip of their float results through
// memory.
void choose_splits(MonarchForwardArgs& args, std::int64_t tiles, std::int64_t at_once);

// Device memory for the splits' results.
std::size_t split_bytes(const MonarchForwardArgs& args);

// Checks the tensors of a call, and puts them into `args`.
void bind_tensors(MonarchForwardArgs& args, const MonarchProblem& problem, const ConstTensorView& q,
                  const ConstTensorView& k, const ConstTensorView& v, const TensorView& out,
                  float* lse, const Workspace& workspace);

}  // namespace monarch::attention::cuda
