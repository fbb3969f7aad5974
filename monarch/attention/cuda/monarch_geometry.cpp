#include "monarch/attention/cuda/monarch_geometry.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <numbers>

#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda {
namespace {

constexpr std::string_view kRoom = "[monarch_attention] ";
constexpr std::int64_t kMaxInt = std::numeric_limits<int>::max();

}  // namespace

int narrow(std::int64_t value, std::string_view what) {
  MONARCH_CHECK_CODE(value <= kMaxInt, kUnsupported, kRoom, "the CUDA kernels count ", what,
                     " up to 2^31 - 1; got ", value);
  return static_cast<int>(value);
}

Operand<const std::uint16_t> operand(const ConstTensorView& tensor, std::string_view name,
                                     DType dtype, std::int64_t tokens,
                                     const MonarchProblem& problem) {
  check_tensor(tensor, name, problem.batch, tokens, problem.num_heads, problem.head_dim);
  MONARCH_CHECK_CODE(tensor.dtype == DType::kBF16 || tensor.dtype == DType::kF16, kUnsupported,
                     kRoom, name, " has dtype ", dtype_name(tensor.dtype),
                     "; the CUDA kernels take BF16 or F16");
  MONARCH_CHECK(tensor.dtype == dtype, kRoom, name, " has dtype ", dtype_name(tensor.dtype),
                " while q has ", dtype_name(dtype), "; the CUDA kernels take one dtype for all");
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data);
  MONARCH_CHECK(address % 16 == 0, kRoom, name, " begins ", address % 16,
                " bytes past a multiple of 16; the CUDA kernels copy 16 bytes at a time");
  for (std::size_t axis = 0; axis < 3; ++axis) {
    MONARCH_CHECK(tensor.strides[axis] % 8 == 0, kRoom, name, " has strides ",
                  shape_string(tensor.strides),
                  "; the CUDA kernels need multiples of 8 elements: make it contiguous");
  }
  return {static_cast<const std::uint16_t*>(tensor.data), tensor.strides[0], tensor.strides[1],
          tensor.strides[2]};
}

Operand<std::uint16_t> result(const TensorView& tensor, std::string_view name, DType dtype,
                              std::int64_t tokens, const MonarchProblem& problem) {
  const Operand<const std::uint16_t> checked =
      operand(read_only(tensor), name, dtype, tokens, problem);
  return {static_cast<std::uint16_t*>(tensor.data), checked.batch_stride, checked.token_stride,
          checked.head_stride};
}

void check_workspace(const Workspace& workspace, std::size_t needed) {
  const std::size_t bytes = workspace.data == nullptr ? 0 : workspace.bytes;
  MONARCH_CHECK(bytes >= needed, kRoom, "the workspace has ", bytes, " bytes; this plan needs ",
                needed);
}

MonarchForwardArgs monarch_geometry(const MonarchProblem& problem) {
  validate(problem);
  MONARCH_CHECK_CODE(problem.num_iters == 1, kUnsupported, kRoom,
                     "the fused CUDA kernel does one refinement step; got num_iters ",
                     problem.num_iters);
  MONARCH_CHECK_CODE(problem.head_dim % 8 == 0 && problem.head_dim <= 128, kUnsupported, kRoom,
                     "head_dim is ", problem.head_dim,
                     "; the CUDA kernels take multiples of 8 up to 128");
  const BlockLayout layout = problem.layout();
  MonarchForwardArgs g;
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
  g.column_tiles =
      narrow((std::int64_t{g.group_blocks} * g.block_cols + sm80::kTileCols - 1) / sm80::kTileCols,
             "column tiles");
  return g;
}

bool choose_ring(MonarchForwardArgs& args, int limit) {
  constexpr std::array<std::array<int, 2>, 5> kChoices{{{2, 4}, {2, 3}, {1, 4}, {1, 3}, {1, 2}}};
  return std::ranges::any_of(kChoices, [&](const auto& choice) {
    args.step_rows = choice[0];
    args.stages = choice[1];
    args.shared = sm80::shared_layout(args.padded_head_dim, args.block_cols, choice[0], choice[1]);
    return static_cast<int>(args.shared.bytes) <= limit;
  });
}

void refuse_block_cols(const MonarchForwardArgs& args, std::uint32_t needed, int limit) {
  fail(ErrorCode::kUnsupported, kRoom, "blocks of ", args.block_cols, " columns with head_dim ",
       args.head_dim, " need ", needed, " bytes of shared memory; this device has ", limit,
       " a thread block. Use a larger w_reduce");
}

}  // namespace monarch::attention::cuda
