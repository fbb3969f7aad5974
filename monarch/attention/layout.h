// Token order and block order of a video's tokens.
//
// Token order is (frame, row, column), column fastest. Monarch attention cuts the video into
// blocks: f_tied consecutive frames, one of h_reduce bands of rows, one of w_reduce bands of
// columns. Inside a block a token has a block row (its frame within the group, then its row within
// the band) and a block column. Block order is (block, block row, block column), column fastest; a
// KV cache lies in it, so that kernels read whole blocks in place. With all three reductions 1 a
// block is a frame and both orders are the same.
//
// Everything here is constexpr integer arithmetic on plain structs, so kernels of every backend
// share it. What kernels call is forced inline: objects compiled for different instruction sets
// must not offer the linker versions of one function to choose from.
#pragma once

#include <array>
#include <cstdint>

#include "monarch/base/tensor_view.h"

namespace monarch::attention {

struct BlockLayout {
  std::int64_t height = 1;  // rows of a frame
  std::int64_t width = 1;   // columns of a frame
  std::int64_t f_tied = 1;
  std::int64_t h_reduce = 1;
  std::int64_t w_reduce = 1;

  // Rows of a block (b1 of the paper: i, k) and its columns (b2: j, l).
  [[gnu::always_inline]] constexpr std::int64_t block_rows() const { return f_tied * band_rows(); }
  [[gnu::always_inline]] constexpr std::int64_t block_cols() const { return width / w_reduce; }
  [[gnu::always_inline]] constexpr std::int64_t block_tokens() const {
    return block_rows() * block_cols();
  }
  [[gnu::always_inline]] constexpr std::int64_t band_rows() const { return height / h_reduce; }
  constexpr std::int64_t frame_tokens() const { return height * width; }
  constexpr std::int64_t num_blocks(std::int64_t frames) const {
    return frames / f_tied * h_reduce * w_reduce;
  }
  constexpr bool is_token_order() const { return f_tied == 1 && h_reduce == 1 && w_reduce == 1; }

  // Position in block order of a token, and back. `token` < frames * height * width.
  constexpr std::int64_t position_of_token(std::int64_t token) const {
    const std::int64_t frame = token / frame_tokens();
    const std::int64_t row = token / width % height;
    const std::int64_t column = token % width;
    const std::int64_t block =
        (frame / f_tied * h_reduce + row / band_rows()) * w_reduce + column / block_cols();
    const std::int64_t block_row = frame % f_tied * band_rows() + row % band_rows();
    return (block * block_rows() + block_row) * block_cols() + column % block_cols();
  }
  [[gnu::always_inline]] constexpr std::int64_t token_of_position(std::int64_t position) const {
    const std::int64_t block = position / block_tokens();
    const std::int64_t block_row = position / block_cols() % block_rows();
    const std::int64_t frame = block / (h_reduce * w_reduce) * f_tied + block_row / band_rows();
    const std::int64_t row = block / w_reduce % h_reduce * band_rows() + block_row % band_rows();
    const std::int64_t column = block % w_reduce * block_cols() + position % block_cols();
    return (frame * height + row) * width + column;
  }
};

// The six ways to split a video's coordinates between the two factors of one Monarch matrix such
// that frame, row and column each lie wholly inside one factor ("aligned"). The name reads (i, j):
// kFramesXPixels has i = frame, j = position in it.
enum class Split : std::uint8_t {
  kFrameRowsXCols,  // (fh, w)
  kColsXFrameRows,  // (w, fh)
  kFramesXPixels,   // (f, hw), the published vmonarch
  kPixelsXFrames,   // (hw, f)
  kFrameColsXRows,  // (fw, h)
  kRowsXFrameCols,  // (h, fw)
};

// Order of tokens under a split: position = i * num_cols + j.
struct SplitLayout {
  std::int64_t frames = 1;
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t frames_per_factor = 1;  // (f, hw) only: frames that share one factor row
  Split split = Split::kFramesXPixels;

  constexpr std::int64_t num_tokens() const { return frames * height * width; }
  constexpr std::int64_t num_rows() const {  // m: i, k
    switch (split) {
      case Split::kFrameRowsXCols: return frames * height;
      case Split::kColsXFrameRows: return width;
      case Split::kFramesXPixels: return frames / frames_per_factor;
      case Split::kPixelsXFrames: return height * width;
      case Split::kFrameColsXRows: return frames * width;
      case Split::kRowsXFrameCols: return height;
    }
    return 0;
  }
  constexpr std::int64_t num_cols() const { return num_tokens() / num_rows(); }  // P: j, l

  [[gnu::always_inline]] constexpr std::int64_t token_of_position(std::int64_t position) const {
    // Extents of the position's coordinates, slowest first, and the token stride of each.
    struct Axis {
      std::int64_t extent;
      std::int64_t stride;
    };
    const Axis f{frames, height * width};
    const Axis h{height, width};
    const Axis w{width, 1};
    std::array<Axis, 3> axes{f, h, w};
    switch (split) {
      case Split::kFrameRowsXCols:
      case Split::kFramesXPixels: break;
      case Split::kColsXFrameRows: axes = {w, f, h}; break;
      case Split::kPixelsXFrames: axes = {h, w, f}; break;
      case Split::kFrameColsXRows: axes = {f, w, h}; break;
      case Split::kRowsXFrameCols: axes = {h, f, w}; break;
    }
    const std::int64_t last = position % axes[2].extent;
    const std::int64_t middle = position / axes[2].extent % axes[1].extent;
    const std::int64_t first = position / axes[2].extent / axes[1].extent;
    return first * axes[0].stride + middle * axes[1].stride + last * axes[2].stride;
  }
};

ConstTensorView read_only(const TensorView& view);

// Copies tokens [B, N, H, D] in token order to positions start..start+N-1 of `blocks` [B, M, H, D]
// in block order: the in-place write of new keys or values into a KV cache. N is a multiple of
// f_tied * height * width, start too; dtypes agree. Other positions of `blocks` are untouched.
void copy_to_block_order(const BlockLayout& layout, const ConstTensorView& tokens,
                         std::int64_t start, const TensorView& blocks);

// The way back: positions start..start+N-1 of `blocks` [B, M, H, D] into `tokens` [B, N, H, D].
void copy_to_token_order(const BlockLayout& layout, const ConstTensorView& blocks,
                         std::int64_t start, const TensorView& tokens);

}  // namespace monarch::attention
