// Monarch attention as its formulas are written, for comparison.
#pragma once

#include <ATen/core/Tensor.h>

#include "monarch/ops/monarch_options.h"

namespace monarch::apps {

// One iteration of arXiv 2602.12271 composed of einsum and softmax, whole tensors at a time: what
// one writes down first. q, k, v: [B, N, H, D], tokens (frame, row, column) of the two grids.
at::Tensor einsum_monarch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const ops::MonarchOptions& options, const ops::Grid& q_grid,
                          const ops::Grid& kv_grid);

}  // namespace monarch::apps
