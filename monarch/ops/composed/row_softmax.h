// Softmax over the middle axis together with the negative entropy of each distribution: the R half
// of Monarch attention.
#pragma once

#include <ATen/ATen.h>

#include <utility>

namespace monarch::ops::composed {

// z [n, J, m] -> r [n, J, m], softmax over J, and c [n, m] = sum over J of r log r, in [-log J, 0].
// As one autograd node it saves two tensors of z's size and needs two passes backward.
std::pair<at::Tensor, at::Tensor> row_softmax(const at::Tensor& z);

}  // namespace monarch::ops::composed
