// From the numbers of a launch to the instantiation that runs it.
#pragma once

#include "monarch/attention/cuda/common/element.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cuda::sm80 {

// Calls launch.template operator()<T, padded_head_dim>().
template <typename Launch>
void dispatch_head_dim(int padded_head_dim, DType dtype, const Launch& launch) {
  const auto with = [&]<typename T>() {
    if (padded_head_dim == 64) return launch.template operator()<T, 64>();
    if (padded_head_dim == 96) return launch.template operator()<T, 96>();
    return launch.template operator()<T, 128>();
  };
  if (dtype == DType::kBF16) return with.template operator()<Bf16>();
  return with.template operator()<F16>();
}

// Calls launch.template operator()<T, padded_head_dim, row_fragments>().
template <typename Launch>
void dispatch_monarch_forward(const MonarchForwardArgs& args, DType dtype, const Launch& launch) {
  dispatch_head_dim(args.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    if (args.row_fragments == 1) return launch.template operator()<T, kHeadDim, 1>();
    return launch.template operator()<T, kHeadDim, 2>();
  });
}

}  // namespace monarch::attention::cuda::sm80
