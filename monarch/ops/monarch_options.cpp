#include "monarch/ops/monarch_options.h"

#include "monarch/attention/problem.h"
#include "monarch/base/divisors.h"
#include "monarch/base/error.h"

namespace monarch::ops {

MonarchOptions MonarchOptions::from_json(const Json& json, const std::string& where) {
  MonarchOptions options;
  OptionsReader reader(json, where);
  reader.read("enable", options.enable);
  reader.read("num_iters", options.num_iters);
  reader.read("f_tied", options.f_tied);
  reader.read("h_reduce", options.h_reduce);
  reader.read("w_reduce", options.w_reduce);
  reader.finish();
  for (const auto& [key, value] : {std::pair{"num_iters", options.num_iters},
                                   {"f_tied", options.f_tied},
                                   {"h_reduce", options.h_reduce},
                                   {"w_reduce", options.w_reduce}}) {
    MONARCH_CHECK(value >= 1, "[config] ", where, ".", key, " must be at least 1, but is ", value);
  }
  return options;
}

VMonarchOptions VMonarchOptions::from_json(const Json& json, const std::string& where) {
  VMonarchOptions options;
  OptionsReader reader(json, where);
  reader.read("num_iters", options.num_iters);
  reader.read("c_r_min", options.c_r_min);
  reader.read("recompute_first_frame", options.recompute_first_frame);
  reader.read("frames_per_factor", options.frames_per_factor);
  std::string split;
  if (reader.read("split", split)) options.split = attention::parse_split(split);
  reader.finish();
  MONARCH_CHECK(options.num_iters >= 1, "[config] ", where,
                ".num_iters must be at least 1, but is ", options.num_iters);
  MONARCH_CHECK(options.frames_per_factor >= 1, "[config] ", where,
                ".frames_per_factor must be at least 1, but is ", options.frames_per_factor);
  MONARCH_CHECK(options.c_r_min > 0, "[config] ", where, ".c_r_min must be positive, but is ",
                options.c_r_min);
  return options;
}

Blocks blocks_of(const Grid& grid, const MonarchOptions& options) {
  MONARCH_CHECK(grid.frames >= 1 && grid.height >= 1 && grid.width >= 1,
                "[monarch_ops] the token grid ", grid.frames, "x", grid.height, "x", grid.width,
                " (frames, rows, columns) is empty");
  check_divides("[monarch_ops] ", "frame count", grid.frames, "f_tied", options.f_tied);
  check_divides("[monarch_ops] ", "token height", grid.height, "h_reduce", options.h_reduce);
  check_divides("[monarch_ops] ", "token width", grid.width, "w_reduce", options.w_reduce);
  return {.tiles = grid.frames / options.f_tied * options.h_reduce * options.w_reduce,
          .rows = options.f_tied * (grid.height / options.h_reduce),
          .cols = grid.width / options.w_reduce};
}

}  // namespace monarch::ops
