// Sparse attention, as comparators for Monarch attention. All mask single tokens, where the
// published kernels mask blocks of 64 or 128 of them, so errors here are lower bounds of theirs at
// the same sparsity.
#pragma once

#include <cstdint>

#include "monarch/evaluation/attention_map.h"

namespace monarch::evaluation {

// The `keep` (0, 1] part of the keys with the largest weights, for each query on its own, which
// needs the dense map: no mask of as many entries has a smaller map error.
AttentionMethod oracle_top_k(double keep);

// RadialAttention (arXiv 2506.19852): with d frames between query and key, positions in their
// frames may differ by less than width * s / 2^floor(log2 d) of the s tokens of a frame; where that
// is less than one, only every ceil(2^floor(log2 d) / s)-th frame is seen, at the same position.
// The first frame is seen by all. The published mask has width 1.
AttentionMethod radial_attention(double width);

// A box of frames, rows and columns.
struct Box {
  std::int64_t frames = 1, height = 1, width = 1;
};

// Sliding tile attention (arXiv 2502.04507): the video is cut into tiles; a query sees the `window`
// of tiles (odd numbers) around its own, moved inside where it would leave the video.
AttentionMethod sliding_tile(const Box& tile, const Box& window);

// Sparse VideoGen (arXiv 2502.01776): a head is spatial (a query sees about the part `keep` of the
// frames, those around its own) or temporal (the part `keep` of the positions, in all frames); both
// see the first frame. Which of them is decided by the output error of a few queries.
AttentionMethod sparse_videogen(double keep);

// VSA (arXiv 2505.13389) without training: attention of the means of boxes chooses for each query
// box the part `keep` of the key boxes, in which attention is exact. The coarse stage's own output,
// which the paper adds through a learnt gate, is left out.
AttentionMethod coarse_to_fine(const Box& box, double keep);

}  // namespace monarch::evaluation
