// A walk over the key rows (f, k) in order, without divisions.
#pragma once

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"

namespace monarch::attention::cuda::sm80 {

struct KvRow {
  int token = 0;  // of its first column, in the order that k and v lie in
  int row = 0;    // in the band
  int frame = 0;  // in the group of tied frames
  int w_band = 0;
  int h_band = 0;

  // Where query row k of a block lies, in tokens from the block's first.
  MONARCH_DEVICE int offset_in_block(const MonarchForwardArgs& args) const {
    return (frame * args.height + row) * args.width;
  }

  MONARCH_DEVICE void advance(const MonarchForwardArgs& args) {
    const int band_rows = args.height / args.h_reduce;
    const int step = args.kv_block_order ? 0 : 1;  // block order: the next columns, always
    token += args.kv_block_order ? args.block_cols : args.width;
    if (++row < band_rows) return;
    row = 0;
    token += step * (args.height - band_rows) * args.width;
    if (++frame < args.f_tied) return;
    frame = 0;
    token += step * (args.block_cols - args.f_tied * args.height * args.width);
    if (++w_band < args.w_reduce) return;
    w_band = 0;
    token += step * (band_rows - 1) * args.width;
    if (++h_band < args.h_reduce) return;
    h_band = 0;
    token += step * (args.f_tied - 1) * args.height * args.width;
  }
};

// First token of a block, in token order.
MONARCH_DEVICE int first_token(const MonarchForwardArgs& args, int block) {
  const int w_band = block % args.w_reduce;
  const int h_band = block / args.w_reduce % args.h_reduce;
  const int frame = block / (args.w_reduce * args.h_reduce) * args.f_tied;
  return (frame * args.height + h_band * (args.height / args.h_reduce)) * args.width +
         w_band * args.block_cols;
}

// Row `index` of all key rows; divisions, once a block.
MONARCH_DEVICE KvRow kv_row(const MonarchForwardArgs& args, int index) {
  const int band_rows = args.height / args.h_reduce;
  const int block = index / args.block_rows;
  const int block_row = index % args.block_rows;
  KvRow result;
  result.row = block_row % band_rows;
  result.frame = block_row / band_rows;
  result.w_band = block % args.w_reduce;
  result.h_band = block / args.w_reduce % args.h_reduce;
  result.token = args.kv_block_order ? index * args.block_cols
                                     : first_token(args, block) + result.offset_in_block(args);
  return result;
}

}  // namespace monarch::attention::cuda::sm80
