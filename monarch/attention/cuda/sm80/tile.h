// Which part of a launch a thread block computes.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/kv_rows.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

struct Tile {
  int first_row = 0;  // of i
  int first_col = 0;  // of (a, j) in the group
  int split = 0;
  int group = 0;
  int head = 0;
  int batch = 0;
};

// Of a launch's block; `rows_of_tile` rows i each.
MONARCH_DEVICE Tile locate_tile(const MonarchForwardArgs& args, int block, int rows_of_tile) {
  const auto take = [&block](int count) {
    const int index = block % count;
    block /= count;
    return index;
  };
  Tile tile;
  tile.first_row = take(args.row_tiles) * rows_of_tile;
  tile.first_col = take(args.column_tiles) * kTileCols;
  tile.split = take(args.num_splits);
  tile.group = take(args.num_groups);
  tile.head = take(args.num_heads);
  tile.batch = block;
  return tile;
}

MONARCH_DEVICE bool column_exists(const MonarchForwardArgs& args, const Tile& tile, int index) {
  return tile.first_col + index < args.group_blocks * args.block_cols;
}
// First token of column `index` of the tile; beyond the last column, the last.
MONARCH_DEVICE int column_token(const MonarchForwardArgs& args, const Tile& tile, int index) {
  const int last = args.group_blocks * args.block_cols - 1;
  const int column = tile.first_col + index < last ? tile.first_col + index : last;
  return first_token(args, tile.group * args.group_blocks + column / args.block_cols) +
         column % args.block_cols;
}
// Where row i of a column lies, in tokens from its first.
MONARCH_DEVICE int row_offset(const MonarchForwardArgs& args, int i) {
  const int band_rows = args.height / args.h_reduce;
  return (i / band_rows * args.height + i % band_rows) * args.width;
}

template <typename Element>
MONARCH_DEVICE Element* head_of(const Operand<Element>& operand, const Tile& tile) {
  return operand.data + tile.batch * operand.batch_stride + tile.head * operand.head_stride;
}

}  // namespace monarch::attention::cuda::sm80
