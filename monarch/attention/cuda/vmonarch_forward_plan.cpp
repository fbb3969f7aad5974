#include <algorithm>
#include <cstdint>
#include <numbers>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/vmonarch_forward.h"

namespace monarch::attention::cuda {
namespace {

// Tokens of the two coordinates of a split, as SplitLayout::token_of_position counts them.
struct Axes {
  Axis rows;
  Axis cols;
};
Axes axes_of(const VMonarchProblem& problem) {
  const int width = static_cast<int>(problem.width);
  const int height = static_cast<int>(problem.height);
  const int frame = height * width;
  const int factor = static_cast<int>(problem.frames_per_factor) * frame;
  const auto line = [](int stride) { return Axis{.inner = 1, .outer_stride = stride}; };
  const Axis frames_and_rows{.inner = 1, .outer_stride = width};
  const Axis frames_and_cols{.inner = width, .outer_stride = frame, .inner_stride = 1};
  switch (problem.split) {
    case Split::kFrameRowsXCols: return {frames_and_rows, line(1)};
    case Split::kColsXFrameRows: return {line(1), frames_and_rows};
    case Split::kFramesXPixels: return {line(factor), line(1)};
    case Split::kPixelsXFrames: return {line(1), line(frame)};
    case Split::kFrameColsXRows: return {frames_and_cols, line(width)};
    case Split::kRowsXFrameCols: return {line(width), frames_and_cols};
  }
  fail(ErrorCode::kInternal, "[monarch_attention] unknown split");
}

}  // namespace

VMonarchForwardPlan::VMonarchForwardPlan(const VMonarchProblem& problem, const DeviceLimits& limits)
    : problem_(problem) {
  validate(problem);
  VMonarchForwardArgs& g = geometry_;
  g.padded_head_dim = padded_head_dim(problem.head_dim);
  const int shared_bytes =
      sm80::flash_shared_bytes(g.padded_head_dim, sm80::FlashKind::kFactorWithValues);
  MONARCH_CHECK_CODE(shared_bytes <= limits.shared_bytes_per_block, kUnsupported,
                     "[monarch_attention] head_dim ", problem.head_dim, " needs ", shared_bytes,
                     " bytes of shared memory; this device has ", limits.shared_bytes_per_block,
                     " a thread block");
  narrow(problem.num_tokens(), "tokens");
  // The most thread blocks of any launch: sixteen rows of eight columns, where there are so many.
  narrow(problem.batch * problem.num_heads * problem.num_tokens(), "thread blocks");
  g.batch = static_cast<int>(problem.batch);
  g.num_heads = static_cast<int>(problem.num_heads);
  g.head_dim = static_cast<int>(problem.head_dim);
  const SplitLayout layout = problem.layout();
  g.rows = static_cast<int>(layout.num_rows());
  g.cols = static_cast<int>(layout.num_cols());
  const auto [row_axis, col_axis] = axes_of(problem);
  g.row_axis = row_axis;
  g.col_axis = col_axis;
  const double scale_log2 = problem.scale() * std::numbers::log2e;
  g.scale_log2 = static_cast<float>(scale_log2);
  g.first_scale_log2 = static_cast<float>(scale_log2 / std::max(1.0, problem.c_r_min));
  g.c_r_min = static_cast<float>(problem.c_r_min);
  g.num_iters = static_cast<int>(std::min<std::int64_t>(problem.num_iters, 1 << 30));
  g.recomputed_tokens =
      problem.recompute_first_frame ? static_cast<int>(problem.height * problem.width) : 0;
}

std::size_t VMonarchForwardPlan::workspace_bytes() const {
  const auto tokens =
      static_cast<std::size_t>(problem_.batch * problem_.num_heads * problem_.num_tokens());
  return tokens * (4 * static_cast<std::size_t>(problem_.head_dim) + 2 * sizeof(float));
}

VMonarchForwardArgs VMonarchForwardPlan::args(const ConstTensorView& q, const ConstTensorView& k,
                                              const ConstTensorView& v, const TensorView& out,
                                              Workspace workspace) const {
  const VMonarchProblem& p = problem_;
  const Sizes sizes{p.batch, p.num_heads, p.head_dim, q.dtype};
  VMonarchForwardArgs args = geometry_;
  args.q = operand(q, "q", p.num_tokens(), sizes);
  args.k = operand(k, "k", p.num_tokens(), sizes);
  args.v = operand(v, "v", p.num_tokens(), sizes);
  args.out = result(out, "out", p.num_tokens(), sizes);
  check_workspace(workspace, workspace_bytes());
  const std::int64_t tokens = p.batch * p.num_heads * p.num_tokens();
  args.a_l = static_cast<std::uint16_t*>(workspace.data);
  args.a_r = args.a_l + tokens * p.head_dim;
  args.entropy = reinterpret_cast<float*>(args.a_r + tokens * p.head_dim);
  args.lse = args.entropy + tokens;
  return args;
}

void VMonarchForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                              const ConstTensorView& v, const TensorView& out, Workspace workspace,
                              Stream stream) const {
  launch_vmonarch_forward(args(q, k, v, out, workspace), q.dtype, stream);
}

}  // namespace monarch::attention::cuda
