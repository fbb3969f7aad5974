// What the VMonarch forward kernels are launched with.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda {

// Tokens of an aligned split (layout.h): each coordinate contributes
// n / inner * outer_stride + n % inner * inner_stride.
struct Axis {
  int inner = 1;
  int outer_stride = 0;
  int inner_stride = 0;
};

struct VMonarchForwardArgs {
  Operand<const std::uint16_t> q;
  Operand<const std::uint16_t> k;
  Operand<const std::uint16_t> v;
  Operand<std::uint16_t> out;
  int batch = 1;
  int num_heads = 1;
  int head_dim = 0;
  int padded_head_dim = 128;
  int rows = 1;  // m: factor rows i, k
  int cols = 1;  // P: positions j, l
  Axis row_axis;
  Axis col_axis;
  float scale_log2 = 0;        // softmax scale times log2 e
  float first_scale_log2 = 0;  // in the first iteration, where c_R is 1: over max(1, c_r_min)
  float c_r_min = 0;
  bool first_iteration = true;
  int num_iters = 1;
  int recomputed_tokens = 0;  // of the first frame

  // [B, H, rows, cols], the first two with head_dim behind, 16 bit. Y lies where a_R was: a thread
  // block reads its rows before it writes them.
  std::uint16_t* a_l = nullptr;
  std::uint16_t* a_r = nullptr;  // over max(c_R, c_r_min)
  float* entropy = nullptr;      // to the base 2
  float* lse = nullptr;          // of the second softmax, to the base 2
};

}  // namespace monarch::attention::cuda
