#include "monarch/attention/cuda/step_geometry.h"

#include <algorithm>
#include <cstdint>
#include <numbers>

#include "monarch/attention/cuda/sm80/flash_tiles.h"

namespace monarch::attention::cuda {
namespace {

Axis line(std::int64_t stride) {
  return {.inner = 1, .outer_stride = static_cast<int>(stride), .inner_stride = 0};
}
Axis plane(std::int64_t inner, std::int64_t outer_stride, std::int64_t inner_stride) {
  return {static_cast<int>(inner), static_cast<int>(outer_stride), static_cast<int>(inner_stride)};
}

// As SplitLayout::token_of_position counts.
TokenMap split_map(const VMonarchProblem& problem) {
  const std::int64_t width = problem.width;
  const std::int64_t frame = problem.height * width;
  TokenMap map;
  const Axis frames_and_rows = line(width);
  const Axis frames_and_cols = plane(width, frame, 1);
  const auto set = [&map](const Axis& row, const Axis& col) {
    map.row = row;
    map.col = col;
  };
  switch (problem.split) {
    case Split::kFrameRowsXCols: set(frames_and_rows, line(1)); break;
    case Split::kColsXFrameRows: set(line(1), frames_and_rows); break;
    case Split::kFramesXPixels: set(line(problem.frames_per_factor * frame), line(1)); break;
    case Split::kPixelsXFrames: set(line(1), line(frame)); break;
    case Split::kFrameColsXRows: set(frames_and_cols, line(width)); break;
    case Split::kRowsXFrameCols: set(line(width), frames_and_cols); break;
  }
  return map;
}

// As BlockLayout::token_of_position counts.
TokenMap block_map(const BlockLayout& layout, bool block_order) {
  TokenMap map;
  map.col = line(1);
  if (block_order) {
    map.row = line(layout.block_cols());
    map.group_stride = static_cast<int>(layout.block_tokens());
    return map;
  }
  map.row = plane(layout.band_rows(), layout.frame_tokens(), layout.width);
  map.w_bands = static_cast<int>(layout.w_reduce);
  map.w_stride = static_cast<int>(layout.block_cols());
  map.h_bands = static_cast<int>(layout.h_reduce);
  map.h_stride = static_cast<int>(layout.band_rows() * layout.width);
  map.group_stride = static_cast<int>(layout.f_tied * layout.frame_tokens());
  return map;
}

void set_shape(const VMonarchProblem& problem, StepArgs& args) {
  const SplitLayout layout = problem.layout();
  args.q_tokens = args.kv_tokens = narrow(problem.num_tokens(), "tokens");
  args.queries = args.rows = static_cast<int>(layout.num_rows());
  args.cols = static_cast<int>(layout.num_cols());
  args.q_map = args.k_map = split_map(problem);
  args.c_r_min = static_cast<float>(problem.c_r_min);
  if (problem.recompute_first_frame) {
    args.recomputed_tokens = static_cast<int>(problem.height * problem.width);
  }
}

void set_shape(const MonarchProblem& problem, StepArgs& args) {
  const BlockLayout layout = problem.layout();
  args.q_tokens = narrow(problem.q_tokens(), "tokens");
  args.kv_tokens = narrow(problem.kv_tokens(), "tokens");
  args.q_blocks = static_cast<int>(problem.num_q_blocks());
  args.queries = static_cast<int>(layout.block_rows());
  args.rows = static_cast<int>(problem.num_kv_blocks() * layout.block_rows());
  args.cols = static_cast<int>(layout.block_cols());
  args.q_map = block_map(layout, false);
  args.k_map = block_map(layout, problem.kv_block_order);
  // a_R / min(1 / (c_R + 1e-6), 1e4), as the definition has it.
  args.c_r_add = 1e-6F;
  args.c_r_min = 1e-4F;
}

}  // namespace

StepArgs step_geometry(const StepProblem& problem, const DeviceLimits& limits) {
  StepArgs args;
  std::int64_t heads = 1;
  std::visit(
      [&](const auto& p) {
        validate(p);
        args.padded_head_dim = padded_head_dim(p.head_dim);
        args.head_dim = static_cast<int>(p.head_dim);
        args.num_heads = narrow(p.num_heads, "heads");
        heads = narrow(p.batch * p.num_heads, "batches times heads");
        args.scale = static_cast<float>(p.scale());
        args.scale_log2 = static_cast<float>(p.scale() * std::numbers::log2e);
        args.num_iters = static_cast<int>(std::min<std::int64_t>(p.num_iters, 1 << 30));
        set_shape(p, args);
      },
      problem);
  // Waves of thread blocks: with eight, the last one's idle processors cost little.
  constexpr std::int64_t kWaves = 8;
  const std::int64_t blocks = sm80::flash_blocks(args, sm80::FlashKind::kFactor);
  args.heads = static_cast<int>(
      std::clamp<std::int64_t>((kWaves * limits.multiprocessors + blocks - 1) / blocks, 1, heads));
  // The most thread blocks of any launch: a warp or a piece of eight channels a row.
  narrow(args.heads * (row_entries(args) + args.q_tokens + 2 * std::int64_t{args.kv_tokens}),
         "thread blocks");
  return args;
}

void check_shared_bytes(const StepArgs& args, int needed, const DeviceLimits& limits) {
  MONARCH_CHECK_CODE(needed <= limits.shared_bytes_per_block, kUnsupported, kRoom, "head_dim ",
                     args.head_dim, " needs ", needed, " bytes of shared memory; this device has ",
                     limits.shared_bytes_per_block, " a thread block");
}

Sizes step_sizes(const StepProblem& problem, DType dtype) {
  return std::visit(
      [dtype](const auto& p) {
        return Sizes{p.batch, p.num_heads, p.head_dim, dtype};
      },
      problem);
}

}  // namespace monarch::attention::cuda
