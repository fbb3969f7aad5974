// What an attention call computes: sizes, tiling, masks; and the checks every backend relies on.
//
// Tensors are q [B, Nq, H, D], k, v [B, Nkv, H, D], out [B, Nq, H, D]: batch, tokens, heads,
// head_dim. Strides are free except the innermost, which is 1. Batches and heads are independent
// problems. validate() and check_*() throw monarch::Error naming what was given, what was expected
// and what to do; kernels behind them only assert.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

#include "monarch/attention/layout.h"
#include "monarch/base/tensor_view.h"

namespace monarch::attention {

// out = softmax over visible keys (s q.k) v.
struct DenseProblem {
  std::int64_t batch = 1;
  std::int64_t num_heads = 1;
  std::int64_t head_dim = 0;
  std::int64_t q_tokens = 0;
  std::int64_t kv_tokens = 0;
  std::optional<double> softmax_scale = {};  // s; head_dim^-1/2 if absent
  // Tokens; key u is visible to query t iff u / size <= t / size (integer divisions). 0: every key
  // is visible.
  std::int64_t block_causal_size = 0;

  double scale() const { return softmax_scale.value_or(1.0 / std::sqrt(double(head_dim))); }
  // Visible keys are a prefix: tokens 0 .. visible_keys(t)-1.
  constexpr std::int64_t visible_keys(std::int64_t q_token) const {
    if (block_causal_size == 0) return kv_tokens;
    return (q_token / block_causal_size + 1) * block_causal_size;
  }
};

// MonarchRT (arXiv 2602.12271): one Monarch factorisation per (query block, key block).
struct MonarchProblem {
  std::int64_t batch = 1;
  std::int64_t num_heads = 1;
  std::int64_t head_dim = 0;
  std::int64_t q_frames = 1;
  std::int64_t kv_frames = 1;
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t f_tied = 1;    // divides q_frames and kv_frames
  std::int64_t h_reduce = 1;  // divides height
  std::int64_t w_reduce = 1;  // divides width
  std::int64_t num_iters = 1;
  std::optional<double> softmax_scale = {};
  // Tokens; key block f is visible to query block a iff f / C <= a / C with C = size / (b1 b2). 0:
  // bidirectional.
  std::int64_t block_causal_size = 0;
  // k and v (and their gradients) lie in block order, as in a KV cache; q and out are always in
  // token order.
  bool kv_block_order = false;

  double scale() const { return softmax_scale.value_or(1.0 / std::sqrt(double(head_dim))); }
  constexpr BlockLayout layout() const { return {height, width, f_tied, h_reduce, w_reduce}; }
  constexpr std::int64_t q_tokens() const { return q_frames * height * width; }
  constexpr std::int64_t kv_tokens() const { return kv_frames * height * width; }
  constexpr std::int64_t num_q_blocks() const { return layout().num_blocks(q_frames); }
  constexpr std::int64_t num_kv_blocks() const { return layout().num_blocks(kv_frames); }
  // Visible key blocks are a prefix: 0 .. visible_blocks(a)-1.
  constexpr std::int64_t visible_blocks(std::int64_t q_block) const {
    if (block_causal_size == 0) return num_kv_blocks();
    const std::int64_t group = block_causal_size / layout().block_tokens();
    return (q_block / group + 1) * group;
  }
};

// VMonarch (arXiv 2601.22275): one Monarch factorisation over the whole video.
struct VMonarchProblem {
  std::int64_t batch = 1;
  std::int64_t num_heads = 1;
  std::int64_t head_dim = 0;
  std::int64_t frames = 1;
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t num_iters = 2;
  std::optional<double> softmax_scale = {};
  double c_r_min = 0.1;               // lower clamp of c_R
  bool recompute_first_frame = true;  // the first frame's queries get exact softmax attention
  std::int64_t frames_per_factor = 1;
  Split split = Split::kFramesXPixels;

  double scale() const { return softmax_scale.value_or(1.0 / std::sqrt(double(head_dim))); }
  constexpr SplitLayout layout() const { return {frames, height, width, frames_per_factor, split}; }
  constexpr std::int64_t num_tokens() const { return frames * height * width; }
};

// Where new keys and values go: positions start..end-1 of the cache, end - start new tokens.
struct CacheWrite {
  std::int64_t start = 0;
  std::int64_t end = 0;
  constexpr std::int64_t num_tokens() const { return end - start; }
};

void validate(const DenseProblem& problem);
void validate(const MonarchProblem& problem);
void validate(const VMonarchProblem& problem);
void validate(const DenseProblem& problem, const CacheWrite& write);
// Also needs kv_block_order: a Monarch cache always lies in block order.
void validate(const MonarchProblem& problem, const CacheWrite& write);

// The split named "fh,w", "w,fh", "f,hw", "hw,f", "fw,h" or "h,fw" (parentheses allowed).
Split parse_split(std::string_view name);

// A tensor [batch, tokens, heads, head_dim] of floating dtype with contiguous head_dim; `name` is
// for the message.
void check_tensor(const ConstTensorView& tensor, std::string_view name, std::int64_t batch,
                  std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim);

}  // namespace monarch::attention
