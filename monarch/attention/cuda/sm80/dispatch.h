// From the numbers of a launch to the instantiation that runs it.
#pragma once

#include "monarch/attention/cuda/common/element.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda::sm80 {

// Calls launch.template operator()<T, head_dim, row_fragments>().
template <typename Launch>
void dispatch_monarch_forward(const MonarchForwardArgs& args, DType dtype, const Launch& launch) {
  const auto with_rows = [&]<typename T, int kHeadDim>() {
    if (args.row_fragments == 1) return launch.template operator()<T, kHeadDim, 1>();
    return launch.template operator()<T, kHeadDim, 2>();
  };
  const auto with_dim = [&]<typename T>() {
    if (args.padded_head_dim == 64) return with_rows.template operator()<T, 64>();
    if (args.padded_head_dim == 96) return with_rows.template operator()<T, 96>();
    return with_rows.template operator()<T, 128>();
  };
  if (dtype == DType::kBF16) return with_dim.template operator()<Bf16>();
  return with_dim.template operator()<F16>();
}

}  // namespace monarch::attention::cuda::sm80
