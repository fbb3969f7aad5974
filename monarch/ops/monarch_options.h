// Settings of Monarch attention, and the video grid its tokens come from.
#pragma once

#include <cstdint>
#include <string>

#include "monarch/attention/layout.h"
#include "monarch/base/options_reader.h"

namespace monarch::ops {

// How frames, rows and columns are cut into blocks, and how often the two factors are refined.
// Defaults are those of the configuration key `monarch_args`.
struct MonarchOptions {
  bool enable = false;
  int64_t num_iters = 1;  // alternations of the two softmaxes
  int64_t f_tied = 1;     // frames that share a block
  int64_t h_reduce = 1;   // bands of rows a frame is cut into
  int64_t w_reduce = 1;   // bands of columns a frame is cut into

  bool operator==(const MonarchOptions&) const = default;
  // `where` names the object in errors. Unknown keys and values below 1 are errors.
  static MonarchOptions from_json(const Json& json, const std::string& where = "monarch_args");
};

// VMonarch: one factorisation over the whole video (arXiv 2601.22275).
struct VMonarchOptions {
  int64_t num_iters = 2;
  double c_r_min = 0.1;               // lower bound of c_R
  bool recompute_first_frame = true;  // exact attention for the queries of frame 0
  int64_t frames_per_factor = 1;      // frames in one row of the first factor; split f,hw only
  // Which of a token's frame f, row h and column w each factor has: "f,hw" is the published one.
  attention::Split split = attention::Split::kFramesXPixels;

  bool operator==(const VMonarchOptions&) const = default;
  // As above, for the configuration key `vmonarch_args`.
  static VMonarchOptions from_json(const Json& json, const std::string& where = "vmonarch_args");
};

// Tokens of a video are ordered (frame, row, column), column fastest.
struct Grid {
  int64_t frames = 0;
  int64_t height = 0;
  int64_t width = 0;

  int64_t frame_tokens() const { return height * width; }
  int64_t tokens() const { return frames * height * width; }
  bool operator==(const Grid&) const = default;
};

// The blocks a grid is cut into: `tiles` blocks of rows x cols tokens each.
struct Blocks {
  int64_t tiles = 0;  // frames / f_tied * h_reduce * w_reduce
  int64_t rows = 0;   // f_tied * height / h_reduce
  int64_t cols = 0;   // width / w_reduce

  int64_t block_tokens() const { return rows * cols; }
};

// Throws, naming the divisors that would do, if the options do not divide the grid.
Blocks blocks_of(const Grid& grid, const MonarchOptions& options);

}  // namespace monarch::ops
