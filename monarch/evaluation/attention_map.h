// Attention of one head as a matrix, exact or approximated, for judging approximations. Everything
// here is composed of Torch operators and meant to be read; the fast kernels are elsewhere.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>

#include "monarch/base/options_reader.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::evaluation {

// One head of one attention call over a video's tokens, ordered (frame, row, column).
struct AttentionHead {
  at::Tensor q, k, v;  // [N, D] float32 or float64
  ops::Grid grid;      // N = frames * height * width
  double scale = 0;    // of the logits
  // Where it was captured.
  std::size_t layer = 0;
  double timestep = 0;

  std::int64_t tokens() const { return grid.tokens(); }
  // Throws, naming what was given, if the operands are not [grid.tokens(), D].
  void validate() const;
};

// What a method makes of a head. Rows are computed when they are asked for, so that long videos
// fit.
struct MapApproximation {
  // query tokens [R] int64 -> weights [R, N]; every row sums to one
  std::function<at::Tensor(const at::Tensor& queries)> rows;
  // Share of the dense map's N^2 numbers that the method does without: 1 - (kept entries)/N^2 for
  // masks, 1 - (numbers in the factors)/N^2 for factorisations.
  double sparsity = 0;
};

struct AttentionMethod {
  std::string family;  // "monarchrt", "oracle top-k", ...
  std::string name;    // within the family, unique: "1x1x1, 2 iterations"
  Json settings = Json::object();
  std::function<MapApproximation(const AttentionHead&)> approximate;
  // The operator that computes it fast, where there is one: [B, N, H, D] operands -> [B, N, H, D].
  std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const ops::Grid& grid)>
      attend = {};
};

// Rows of softmax(scale q k^T): query tokens [R] -> [R, N].
at::Tensor dense_rows(const AttentionHead& head, const at::Tensor& queries);

// Query tokens [R] -> which keys they see, bool [R, N]; at least one each.
using MaskRows = std::function<at::Tensor(const at::Tensor& queries)>;

// Softmax over the visible keys alone. Sparsity is counted on at most 4096 queries, evenly spread.
MapApproximation masked_attention(const AttentionHead& head, MaskRows mask);

// rows of the approximation times v, for all queries: [N, D].
at::Tensor attention_output(const AttentionHead& head, const MapApproximation& approximation);

// At most `max_queries` query tokens, evenly spread over the video: int64 [R].
at::Tensor spread_queries(std::int64_t tokens, std::int64_t max_queries);

// Query tokens in runs of this many keep [R, N] small.
inline constexpr std::int64_t kQueryRun = 256;

}  // namespace monarch::evaluation
