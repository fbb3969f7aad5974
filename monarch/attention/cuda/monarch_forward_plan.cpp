#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string_view>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/monarch_forward.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda {
namespace {

constexpr std::string_view kRoom = "[monarch_attention] ";
constexpr std::int64_t kMaxInt = std::numeric_limits<int>::max();

int narrow(std::int64_t value, std::string_view what) {
  MONARCH_CHECK_CODE(value <= kMaxInt, kUnsupported, kRoom, "the CUDA kernels count ", what,
                     " up to 2^31 - 1; got ", value);
  return static_cast<int>(value);
}

template <typename Element, typename View>
Operand<Element> operand(const View& view, std::string_view name, DType dtype, std::int64_t tokens,
                         const MonarchProblem& problem) {
  const ConstTensorView read{view.data, view.dtype, view.shape, view.strides};
  check_tensor(read, name, problem.batch, tokens, problem.num_heads, problem.head_dim);
  MONARCH_CHECK_CODE(view.dtype == DType::kBF16 || view.dtype == DType::kF16, kUnsupported, kRoom,
                     name, " has dtype ", dtype_name(view.dtype),
                     "; the CUDA kernels take BF16 or F16");
  MONARCH_CHECK(view.dtype == dtype, kRoom, name, " has dtype ", dtype_name(view.dtype),
                " while q has ", dtype_name(dtype), "; the CUDA kernels take one dtype for all");
  const auto address = reinterpret_cast<std::uintptr_t>(view.data);
  MONARCH_CHECK(address % 16 == 0, kRoom, name, " begins ", address % 16,
                " bytes past a multiple of 16; the CUDA kernels copy 16 bytes at a time");
  for (std::size_t axis = 0; axis < 3; ++axis) {
    MONARCH_CHECK(view.strides[axis] % 8 == 0, kRoom, name, " has strides ",
                  shape_string(view.strides),
                  "; the CUDA kernels need multiples of 8 elements: make it contiguous");
  }
  return {static_cast<Element*>(view.data), view.strides[0], view.strides[1], view.strides[2]};
}

}  // namespace

MonarchForwardPlan::MonarchForwardPlan(const MonarchProblem& problem, const DeviceLimits& limits)
    : problem_(problem) {
  validate(problem);
  MONARCH_CHECK_CODE(problem.num_iters == 1, kUnsupported, kRoom,
                     "the fused CUDA kernel does one refinement step; got num_iters ",
                     problem.num_iters);
  MONARCH_CHECK_CODE(problem.head_dim % 8 == 0 && problem.head_dim <= 128, kUnsupported, kRoom,
                     "head_dim is ", problem.head_dim,
                     "; the CUDA kernels take multiples of 8 up to 128");
  const BlockLayout layout = problem.layout();
  MonarchForwardArgs& g = geometry_;
  narrow(std::max(problem.q_tokens(), problem.kv_tokens()) +
             problem.f_tied * layout.frame_tokens() + layout.frame_tokens(),
         "tokens");
  g.batch = narrow(problem.batch, "batches");
  g.num_heads = narrow(problem.num_heads, "heads");
  g.head_dim = static_cast<int>(problem.head_dim);
  g.padded_head_dim = g.head_dim <= 64 ? 64 : g.head_dim <= 96 ? 96 : 128;
  g.q_tokens = static_cast<int>(problem.q_tokens());
  g.scale_log2 = static_cast<float>(problem.scale() * std::numbers::log2e);
  g.height = static_cast<int>(problem.height);
  g.width = static_cast<int>(problem.width);
  g.f_tied = static_cast<int>(problem.f_tied);
  g.h_reduce = static_cast<int>(problem.h_reduce);
  g.w_reduce = static_cast<int>(problem.w_reduce);
  g.kv_block_order = problem.kv_block_order;
  g.block_rows = static_cast<int>(layout.block_rows());
  g.block_cols = static_cast<int>(layout.block_cols());
  const std::int64_t causal_blocks =
      problem.block_causal_size == 0 ? 0 : problem.block_causal_size / layout.block_tokens();
  g.group_blocks = static_cast<int>(causal_blocks == 0 ? problem.num_q_blocks() : causal_blocks);
  g.group_kv_blocks =
      static_cast<int>(causal_blocks == 0 ? problem.num_kv_blocks() : causal_blocks);
  g.num_groups = static_cast<int>(problem.num_q_blocks() / g.group_blocks);
  choose_tiles(limits);
  choose_splits(limits);
}

// The most that fits of: two key rows a step (twice the work between barriers), then more pieces in
// flight. Tiles of 16 rows need half the registers, so two thread blocks share a multiprocessor
// where their shared memory (and the kilobyte each that the system keeps) lets them.
void MonarchForwardPlan::choose_tiles(const DeviceLimits& limits) {
  MonarchForwardArgs& g = geometry_;
  constexpr std::array<std::array<int, 2>, 5> kChoices{{{2, 4}, {2, 3}, {1, 4}, {1, 3}, {1, 2}}};
  const auto choose = [&](int limit) {
    for (const auto& [step_rows, stages] : kChoices) {
      g.step_rows = step_rows;
      g.stages = stages;
      g.shared = sm80::shared_layout(g.padded_head_dim, g.block_cols, step_rows, stages);
      if (static_cast<int>(g.shared.bytes) <= limit) return true;
    }
    return false;
  };
  g.row_fragments = g.block_rows <= 16 ? 1 : 2;
  const int limit = limits.shared_bytes_per_block;
  resident_blocks_ = g.row_fragments == 1 && choose((limit - 1024) / 2) ? 2 : 1;
  MONARCH_CHECK_CODE(resident_blocks_ == 2 || choose(limit), kUnsupported, kRoom, "blocks of ",
                     g.block_cols, " columns with head_dim ", g.head_dim, " need ", g.shared.bytes,
                     " bytes of shared memory; this device has ", limit,
                     " a thread block. Use a larger w_reduce");
  const int tile_rows = 16 * g.row_fragments;
  g.row_tiles = (g.block_rows + tile_rows - 1) / tile_rows;
  g.column_tiles =
      narrow((std::int64_t{g.group_blocks} * g.block_cols + sm80::kTileCols - 1) / sm80::kTileCols,
             "column tiles");
}

// Splits fill the last wave of thread blocks, and cost a round trip of their float results through
// memory. Time is counted in chunks of key rows, during which a multiprocessor reads a chunk's keys
// and values.
void MonarchForwardPlan::choose_splits(const DeviceLimits& limits) {
  MonarchForwardArgs& g = geometry_;
  const std::int64_t tiles =
      std::int64_t{g.batch} * g.num_heads * g.num_groups * g.column_tiles * g.row_tiles;
  const auto chunks_of = [&](std::int64_t groups) {
    return (groups * g.group_kv_blocks * g.block_rows + sm80::kChunkRows - 1) / sm80::kChunkRows;
  };
  const double chunk_bytes = 2.0 * 2 * sm80::kChunkRows * g.block_cols * g.head_dim;
  const double result_bytes = 2.0 * 4 * double(g.batch) * g.num_heads * g.q_tokens * g.head_dim;
  const std::int64_t at_once = std::int64_t{limits.multiprocessors} * resident_blocks_;
  constexpr std::int64_t kMaxSplits = 32;
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t splits = 1; splits <= std::min(kMaxSplits, chunks_of(1)); ++splits) {
    const std::int64_t waves = (tiles * splits + at_once - 1) / at_once;
    const std::int64_t chunks = (chunks_of(g.num_groups) + splits - 1) / splits;
    double cost = double(waves * chunks);
    if (splits > 1) cost += double(splits) * result_bytes / (chunk_bytes * double(at_once));
    if (cost >= best) continue;
    best = cost;
    g.num_splits = static_cast<int>(splits);
  }
  g.num_blocks = narrow(tiles * g.num_splits, "thread blocks");
}

std::size_t MonarchForwardPlan::workspace_bytes() const {
  const MonarchForwardArgs& g = geometry_;
  if (g.num_splits == 1) return 0;
  const auto rows = static_cast<std::size_t>(g.num_splits) * static_cast<std::size_t>(g.batch) *
                    static_cast<std::size_t>(g.num_heads) * static_cast<std::size_t>(g.q_tokens);
  return rows * (static_cast<std::size_t>(g.head_dim) + 1) * sizeof(float);
}

MonarchForwardArgs MonarchForwardPlan::args(const ConstTensorView& q, const ConstTensorView& k,
                                            const ConstTensorView& v, const TensorView& out,
                                            float* lse, Workspace workspace) const {
  MonarchForwardArgs args = geometry_;
  const MonarchProblem& p = problem_;
  args.q = operand<const std::uint16_t>(q, "q", q.dtype, p.q_tokens(), p);
  args.k = operand<const std::uint16_t>(k, "k", q.dtype, p.kv_tokens(), p);
  args.v = operand<const std::uint16_t>(v, "v", q.dtype, p.kv_tokens(), p);
  args.out = operand<std::uint16_t>(out, "out", q.dtype, p.q_tokens(), p);
  args.lse = lse;
  const std::size_t needed = workspace_bytes();
  if (needed == 0) return args;
  MONARCH_CHECK(workspace.data != nullptr && workspace.bytes >= needed, kRoom, "the workspace has ",
                workspace.data == nullptr ? 0 : workspace.bytes, " bytes; this plan needs ",
                needed);
  args.partial_out = static_cast<float*>(workspace.data);
  args.partial_lse = args.partial_out + std::int64_t{args.num_splits} * args.batch *
                                            args.num_heads * args.q_tokens * args.head_dim;
  return args;
}

void MonarchForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                             const ConstTensorView& v, const TensorView& out, float* lse,
                             Workspace workspace, Stream stream) const {
  launch_monarch_forward(args(q, k, v, out, lse, workspace), q.dtype, stream);
}

}  // namespace monarch::attention::cuda
