#include "monarch/ops/options_json.h"

namespace monarch::ops {

Json as_json(const MonarchOptions& options) {
  return {{"enable", options.enable},
          {"num_iters", options.num_iters},
          {"f_tied", options.f_tied},
          {"h_reduce", options.h_reduce},
          {"w_reduce", options.w_reduce}};
}

Json as_json(const VMonarchOptions& options) {
  return {{"num_iters", options.num_iters},
          {"c_r_min", options.c_r_min},
          {"recompute_first_frame", options.recompute_first_frame},
          {"frames_per_factor", options.frames_per_factor},
          {"split", split_name(options.split)}};
}

std::string split_name(attention::Split split) {
  using attention::Split;
  switch (split) {
    case Split::kFrameRowsXCols: return "fh,w";
    case Split::kColsXFrameRows: return "w,fh";
    case Split::kFramesXPixels: return "f,hw";
    case Split::kPixelsXFrames: return "hw,f";
    case Split::kFrameColsXRows: return "fw,h";
    case Split::kRowsXFrameCols: return "h,fw";
  }
  return "?";
}

}  // namespace monarch::ops
