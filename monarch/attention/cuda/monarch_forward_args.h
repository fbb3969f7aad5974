// What the Monarch forward kernels are launched with: plain numbers, passed by value.
#pragma once

#include <cstdint>

namespace monarch::attention::cuda {

// [B, N, H, D] in 16-bit elements, head_dim contiguous; strides in elements, multiples of 8.
template <typename T>
struct Operand {
  T* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;
};

// Where things lie in a thread block's shared memory: byte offsets (sm80/tiles.h). C is the columns
// of a tile.
struct SharedLayout {
  std::uint32_t slot_bytes = 0;      // one piece of K or V: step_rows x (block_cols + C of Q) rows
  std::uint32_t slot_row_bytes = 0;  // one key row in it
  std::uint32_t scores = 0;          // float [step_rows, 2 (halves of head_dim), C, score_pitch]
  std::uint32_t score_pitch = 0;     // floats
  std::uint32_t weights = 0;         // 16 bit [step_rows, C, weight_pitch]
  std::uint32_t weight_pitch = 0;    // elements
  std::uint32_t inverse = 0;         // float [step_rows, C], 1 / sum of weights
  std::uint32_t c_l = 0;             // float [C, chunk rows], to the base 2
  std::uint32_t a_l = 0;  // 16 bit [C][chunk rows][row_pitch], columns column_pitch bytes apart
  std::uint32_t y = 0;    // likewise
  std::uint32_t column_pitch = 0;
  std::uint32_t queries = 0;  // where they are kept here: 16 bit [C][tile rows][row_pitch]
  std::uint32_t bytes = 0;
};

// Sizes are below 2^31; so is any token number.
struct MonarchForwardArgs {
  Operand<const std::uint16_t> q;
  Operand<const std::uint16_t> k;
  Operand<const std::uint16_t> v;
  Operand<std::uint16_t> out;
  float* lse = nullptr;  // [B, H, Nq] or null
  // With more than one split: normalised sums of each, and their log-sum-exp to the base 2.
  float* partial_out = nullptr;  // [splits, B, H, Nq, D]
  float* partial_lse = nullptr;  // [splits, B, H, Nq]

  int batch = 1;
  int num_heads = 1;
  int head_dim = 0;  // a multiple of 8
  int q_tokens = 0;
  float scale_log2 = 0;  // softmax scale times log2 e

  // Blocks, as in layout.h.
  int height = 1;
  int width = 1;
  int f_tied = 1;
  int h_reduce = 1;
  int w_reduce = 1;
  bool kv_block_order = false;
  int block_rows = 1;
  int block_cols = 1;
  // Query blocks with the same visible keys: group g of `num_groups` holds group_blocks of them and
  // sees the first (g + 1) * group_kv_blocks key blocks.
  int num_groups = 1;
  int group_blocks = 1;
  int group_kv_blocks = 1;

  // The launch.
  int column_tiles = 1;  // a group
  int row_tiles = 1;
  int num_splits = 1;
  int step_rows = 1;  // key rows at a time: 1 or 2
  int stages = 2;     // pieces of K or V in shared memory: 2 to 4
  int row_fragments = 2;
  int padded_head_dim = 128;
  std::int64_t num_blocks = 0;
  SharedLayout shared;
};

}  // namespace monarch::attention::cuda
