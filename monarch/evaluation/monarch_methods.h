// Monarch attention as methods to compare, from its formulas: both factors are made in full, so
// that the attention map can be looked at. Unlike the operators of monarch/ops they take splits
// that cut through a video's axes.
#pragma once

#include <cstdint>

#include "monarch/evaluation/attention_map.h"

namespace monarch::evaluation {

// arXiv 2602.12271; `options.enable` is ignored. Sparsity is 1 - 1/b1 - 1/b2 for blocks of b1 rows
// and b2 columns. Throws if the options do not divide the grid.
AttentionMethod monarchrt(const ops::MonarchOptions& options);

// The same with blocks of `cols` columns cut from a frame's tokens in a row, whether or not rows of
// the frame end where they do: misaligned unless `cols` is the frame's width (or 1, or all).
// `cols` divides the tokens of a frame.
AttentionMethod monarchrt_misaligned(std::int64_t cols, std::int64_t num_iters);

// arXiv 2601.22275. Sparsity is 1 - 1/m - 1/P for factors over m rows and P positions; exact
// queries of the first frame cost another 1/frames.
AttentionMethod vmonarch(const ops::VMonarchOptions& options);

// The same with `rows` factor rows cut from the tokens of the video in a row; `rows` divides them.
AttentionMethod vmonarch_misaligned(std::int64_t rows, const ops::VMonarchOptions& options);

// Floating-point operations over those of dense attention on the same head, for values as wide as
// keys.
double relative_cost(const ops::MonarchOptions& options, const ops::Grid& grid);
double relative_cost(const ops::VMonarchOptions& options, const ops::Grid& grid);

}  // namespace monarch::evaluation
