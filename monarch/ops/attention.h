// Attention over video tokens: dense, Monarch and VMonarch.
//
// q, k, v and results are [B, N, H, D] (batch, tokens, heads, head_dim), float32, float64, float16
// or bfloat16, on any device. All functions are differentiable in every floating operand, once
// where kernels run. Sums and entropies are float32 (float64 for float64 input) also for 16-bit
// storage. `softmax_scale` defaults to D^-1/2. Shapes that do not fit throw
// monarch::Error. Any number of threads may call at once.
//
// They run on the kernels of monarch/attention where these take device, type and problem, and are
// composed of Torch operators where not, or where the environment says MONARCH_ATTENTION=composed.
// monarch/ops/usage.h tells which ran, how often and why. From Python, and for tracing, the same
// functions are torch.ops.monarch.dense_attention, monarchrt_attention and vmonarch_attention
// (monarch/ops/operators.cpp).
//
// The mathematics is that of arXiv 2602.12271 (Monarch) and 2601.22275 (VMonarch); plain loops
// that define it are in monarch/attention/reference.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "monarch/ops/monarch_options.h"

namespace monarch::ops {

// While one lives, its thread's calls are composed of Torch operators: for comparison.
class ComposedAttentionGuard {
 public:
  ComposedAttentionGuard();
  ~ComposedAttentionGuard();
  ComposedAttentionGuard(const ComposedAttentionGuard&) = delete;
  ComposedAttentionGuard& operator=(const ComposedAttentionGuard&) = delete;

 private:
  bool before_;
};

// softmax(softmax_scale * q k^T) v; q may have another token count than k and v.
at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           std::optional<double> softmax_scale = {});

// The same, of video tokens to context tokens; counted as "cross".
at::Tensor cross_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// Queries [query_begin, query_end) see the keys [key_begin, key_end); with `sees_self` query t also
// sees key t when it lies outside that range.
struct QueryRun {
  int64_t query_begin = 0;
  int64_t query_end = 0;
  int64_t key_begin = 0;
  int64_t key_end = 0;
  bool sees_self = false;
};

// Dense attention where each run of queries sees its own range of keys. The runs must cover the
// queries in order, without gaps.
at::Tensor dense_attention_runs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const std::vector<QueryRun>& runs,
                                std::optional<double> softmax_scale = {});

// Key u is visible to query t iff u / block_tokens <= t / block_tokens (integer divisions).
at::Tensor dense_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, int64_t block_tokens,
                                        std::optional<double> softmax_scale = {});

// Block order: tokens sorted by (tile, row in the tile, column in the tile), the order in which KV
// caches store them. `tokens` is [B, N, ...]; the result is `tokens` itself where both orders
// agree.
at::Tensor to_block_order(const at::Tensor& tokens, const Grid& grid,
                          const MonarchOptions& options);
at::Tensor from_block_order(const at::Tensor& blocks, const Grid& grid,
                            const MonarchOptions& options);

// Every query tile sees every key tile. q, k, v in token order; the frame counts of the two grids
// may differ, height and width may not.
at::Tensor monarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const MonarchOptions& options, const Grid& q_grid, const Grid& kv_grid,
                             std::optional<double> softmax_scale = {});

// The same with k and v in block order, as a KV cache holds them; q and the result stay in token
// order.
at::Tensor monarch_attention_blocks(const at::Tensor& q, const at::Tensor& k_blocks,
                                    const at::Tensor& v_blocks, const MonarchOptions& options,
                                    const Grid& q_grid, const Grid& kv_grid,
                                    std::optional<double> softmax_scale = {});

// One iteration, block-causal: with C = block_tokens / (tokens of a tile), key tile f is visible to
// query tile a iff f / C <= a / C. block_tokens is a multiple of a tile's tokens and divides N.
at::Tensor monarch_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, const MonarchOptions& options,
                                          const Grid& grid, int64_t block_tokens,
                                          std::optional<double> softmax_scale = {});

// One factorisation over the whole video; q, k, v have equal token counts. The entropy counts as a
// constant for gradients, as in the paper's training.
at::Tensor vmonarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const VMonarchOptions& options, const Grid& grid,
                              std::optional<double> softmax_scale = {});

// A cache with `fresh` in the place of its positions [begin, begin + fresh tokens), as a new
// tensor: [B, Z, ...] and [B, n, ...] -> [B, Z, ...]. Gradients reach both operands; detach `cache`
// to make the past a constant.
at::Tensor splice_tokens(const at::Tensor& cache, const at::Tensor& fresh, int64_t begin);

}  // namespace monarch::ops
