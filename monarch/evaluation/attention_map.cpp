#include "monarch/evaluation/attention_map.h"

#include <limits>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::evaluation {

void AttentionHead::validate() const {
  for (const auto& [name, tensor] :
       {std::pair<const char*, const at::Tensor&>{"q", q}, {"k", k}, {"v", v}}) {
    MONARCH_CHECK(tensor.defined() && tensor.dim() == 2 && tensor.size(0) == grid.tokens(),
                  "[monarch_evaluation] ", name, " of a head has shape ",
                  tensor.defined() ? shape_string(tensor.sizes()) : "nothing", "; [", grid.tokens(),
                  ", head_dim] was expected for a grid of ", grid.frames, "x", grid.height, "x",
                  grid.width, " (frames, rows, columns)");
  }
  MONARCH_CHECK(q.size(1) == k.size(1), "[monarch_evaluation] q has head_dim ", q.size(1),
                ", k has ", k.size(1));
}

namespace {

at::Tensor logits(const AttentionHead& head, const at::Tensor& queries) {
  return at::matmul(head.q.index_select(0, queries), head.k.t()).mul(head.scale);
}

constexpr std::int64_t kCountedQueries = 4096;  // of a mask, for its sparsity

}  // namespace

at::Tensor dense_rows(const AttentionHead& head, const at::Tensor& queries) {
  return at::softmax(logits(head, queries), 1);
}

MapApproximation masked_attention(const AttentionHead& head, MaskRows mask) {
  double kept = 0;
  const at::Tensor counted = spread_queries(head.tokens(), kCountedQueries);
  for (const at::Tensor& queries : counted.split(kQueryRun))
    kept += static_cast<double>(mask(queries).sum().item<std::int64_t>());
  const double entries = static_cast<double>(counted.size(0)) * static_cast<double>(head.tokens());
  return {.rows =
              [head, mask = std::move(mask)](const at::Tensor& queries) {
                return at::softmax(logits(head, queries)
                                       .masked_fill(mask(queries).logical_not(),
                                                    -std::numeric_limits<double>::infinity()),
                                   1);
              },
          .sparsity = 1 - kept / entries};
}

at::Tensor attention_output(const AttentionHead& head, const MapApproximation& approximation) {
  std::vector<at::Tensor> pieces;
  for (const at::Tensor& queries : at::arange(head.tokens(), at::kLong).split(kQueryRun))
    pieces.push_back(at::matmul(approximation.rows(queries), head.v));
  return at::cat(pieces);
}

at::Tensor spread_queries(std::int64_t tokens, std::int64_t max_queries) {
  const std::int64_t count = std::min(tokens, max_queries);
  return at::arange(count, at::kLong).mul(tokens).div(count, "floor");
}

}  // namespace monarch::evaluation
