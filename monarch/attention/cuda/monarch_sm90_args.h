// What the sm_90a Monarch forward kernel is launched with.
#pragma once

#include "monarch/attention/cuda/common/tensor_map.h"
#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda {

// Its tiles are of one query block each; a cluster has `cluster` of them that see the same keys.
// `forward.column_tiles` counts the tiles of a group, row tiles included, up to a multiple of that.
struct MonarchSm90Args {
  MonarchForwardArgs forward;
  TensorMap q;  // boxes of a tile's columns
  TensorMap k;  // boxes of a key row
  TensorMap v;
  int cluster = 1;
  int tiles = 1;        // of a group that exist
  int block_tiles = 1;  // column tiles of a query block
};

}  // namespace monarch::attention::cuda
