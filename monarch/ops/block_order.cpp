// Token order <-> block order.
//
// frames = a*f', rows = c*i', columns = e*j, with f' = f_tied, c = h_reduce, e = w_reduce:
// tokens (a, f', c, i', e, j) become tiles (a, c, e) x tile rows (f', i') x tile columns j.
#include "monarch/ops/attention.h"
#include "monarch/ops/checks.h"

namespace monarch::ops {
namespace {

// Block order equals token order when a tile is made of whole rows of one band.
bool orders_agree(const MonarchOptions& options) {
  return options.w_reduce == 1 && (options.h_reduce == 1 || options.f_tied == 1);
}

void check_tokens(const char* op, const at::Tensor& tokens, const Grid& grid) {
  MONARCH_CHECK(tokens.dim() >= 2 && tokens.size(1) == grid.tokens(), "[monarch_ops] ", op,
                " needs ", grid.tokens(), " tokens for the grid ", grid.frames, "x", grid.height,
                "x", grid.width, "; got a tensor of shape ", shape_string(tokens.sizes()));
}

// The six grid extents between the batch axis and the trailing axes.
std::vector<int64_t> split_shape(const at::Tensor& tokens, const std::vector<int64_t>& grid) {
  std::vector<int64_t> shape{tokens.size(0)};
  shape.insert(shape.end(), grid.begin(), grid.end());
  for (int64_t axis = 2; axis < tokens.dim(); ++axis) shape.push_back(tokens.size(axis));
  return shape;
}

at::Tensor reorder(const at::Tensor& tokens, const std::vector<int64_t>& grid,
                   std::vector<int64_t> order) {
  at::Tensor split = tokens.reshape(split_shape(tokens, grid));
  for (int64_t axis = 7; axis < split.dim(); ++axis) order.push_back(axis);
  return split.permute(order).reshape(tokens.sizes());
}

}  // namespace

at::Tensor to_block_order(const at::Tensor& tokens, const Grid& grid,
                          const MonarchOptions& options) {
  check_tokens("to_block_order", tokens, grid);
  blocks_of(grid, options);  // divisibility
  if (orders_agree(options)) return tokens;
  const auto [f, c, e] = std::tuple{options.f_tied, options.h_reduce, options.w_reduce};
  return reorder(tokens, {grid.frames / f, f, c, grid.height / c, e, grid.width / e},
                 {0, 1, 3, 5, 2, 4, 6});  // a f' c i' e j -> a c e f' i' j
}

at::Tensor from_block_order(const at::Tensor& blocks, const Grid& grid,
                            const MonarchOptions& options) {
  check_tokens("from_block_order", blocks, grid);
  blocks_of(grid, options);
  if (orders_agree(options)) return blocks;
  const auto [f, c, e] = std::tuple{options.f_tied, options.h_reduce, options.w_reduce};
  return reorder(blocks, {grid.frames / f, c, e, f, grid.height / c, grid.width / e},
                 {0, 1, 4, 2, 5, 3, 6});  // a c e f' i' j -> a f' c i' e j
}

at::Tensor splice_tokens(const at::Tensor& cache, const at::Tensor& fresh, int64_t begin) {
  const int64_t end = begin + fresh.size(1);
  MONARCH_CHECK(begin >= 0 && end <= cache.size(1), "[monarch_ops] positions ", begin, "..", end,
                " do not lie in a cache of ", cache.size(1), " tokens");
  return at::cat({cache.narrow(1, 0, begin), fresh, cache.narrow(1, end, cache.size(1) - end)}, 1);
}

}  // namespace monarch::ops
