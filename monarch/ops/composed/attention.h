// The attention operators composed of Torch operators: any device, float32, float64, float16 and
// bfloat16, differentiable as often as Torch's operators are. They are what the operators of
// monarch/ops/attention.h run where the kernels cannot, and the oracle the kernels are tested with.
//
// q, k, v and results are [B, N, H, D]. Operands are taken as checked (monarch/ops/attention.h).
// Row weights, entropies and sums of the Monarch operators are float32 (float64 for float64 input)
// also for 16-bit storage.
#pragma once

#include <ATen/ATen.h>

#include "monarch/ops/attention.h"

namespace monarch::ops::composed {

at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           double scale);

// The queries of one run, against the keys that it sees.
at::Tensor dense_attention_run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const QueryRun& run, double scale);

at::Tensor dense_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, int64_t block_tokens, double scale);

at::Tensor monarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const MonarchOptions& options, const Grid& q_grid, const Grid& kv_grid,
                             double scale);

at::Tensor monarch_attention_blocks(const at::Tensor& q, const at::Tensor& k_blocks,
                                    const at::Tensor& v_blocks, const MonarchOptions& options,
                                    const Grid& q_grid, const Grid& kv_grid, double scale);

at::Tensor monarch_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, const MonarchOptions& options,
                                          const Grid& grid, int64_t block_tokens, double scale);

at::Tensor vmonarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const VMonarchOptions& options, const Grid& grid, double scale);

}  // namespace monarch::ops::composed
