// Sequence parallelism: processes that make one video together (DeepSpeed-Ulysses: Jacobs et al.
// 2023, arXiv 2309.14509).
//
// Each rank of config.sequence has a strip of every frame, some rows of tokens next to each other,
// and runs projections, norms, cross-attention and feed-forward on it. Around self-attention an
// all-to-all turns strips of all heads into the whole video of the rank's own heads, and back:
// attention is that of one process, and a KV cache holds the own heads only. Inputs and flow are
// whole, and alike, on every rank; a weight's gradient is that of the rank's tokens, so gradients
// add up over the ranks.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/self_attention.h"

namespace monarch::models {

// Heads whose attention this rank runs: all of them without config.sequence.
struct HeadRange {
  int64_t first = 0;
  int64_t count = 0;
};

// Throws, naming the sizes that would do, if the ranks do not divide the heads.
HeadRange own_heads(const WanConfig& config);

// head_groups() of the own heads, counted from the first of them.
std::vector<HeadGroup> own_head_groups(const WanConfig& config, int64_t layer,
                                       const AttentionPosition& position);

// How a video is cut; one strip without config.sequence. Rows that the ranks do not divide are
// spread as evenly as they go. What follows is collective, and differentiable.
class Strips {
 public:
  // `video`: tokens of the whole one. Throws if it has fewer rows than there are ranks.
  Strips(const WanConfig& config, const ops::Grid& video);

  const ops::Grid& grid() const { return grid_; }  // of the own strip

  // x [B, C, F, H, W] -> its own rows. The gradient of x is whole on every rank.
  at::Tensor cut(const at::Tensor& x) const;
  // Every rank's strip of a video, joined. Takes a gradient that is alike on every rank.
  at::Tensor join(const at::Tensor& strip) const;
  // The rows of rope_table() for the own tokens.
  at::Tensor cut_rope(const at::Tensor& rope) const;
  // `pattern` of the whole video's tokens and the own heads, for projections of the own tokens and
  // all heads: [B, own tokens, heads, D].
  at::Tensor attend(const ops::Projections& own, const AttentionPattern& pattern) const;

 private:
  struct Layout;
  std::shared_ptr<const Layout> layout_;  // null: one strip
  ops::Grid grid_;
};

}  // namespace monarch::models
