#include <algorithm>
#include <numbers>
#include <utility>

#include "monarch/attention/cpu/dense_forward.h"
#include "monarch/attention/cpu/plan.h"

namespace monarch::attention::cpu {

DenseForwardPlan::DenseForwardPlan(const DenseProblem& problem, int num_threads, Isa isa,
                                   ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
}

DenseForwardArgs DenseForwardPlan::args() const {
  DenseForwardArgs args;
  args.num_heads = problem_.num_heads;
  args.head_dim = problem_.head_dim;
  args.q_tokens = problem_.q_tokens;
  args.kv_tokens = problem_.kv_tokens;
  args.scale_log2 = static_cast<float>(problem_.scale() * std::numbers::log2e);
  if (problem_.block_causal_size > 0)
    args.num_groups = problem_.q_tokens / problem_.block_causal_size;
  const std::int64_t group_tokens = args.q_tokens / args.num_groups;
  const std::int64_t tile = kernels(isa_).dense_query_tile();
  args.tiles_per_group = (group_tokens + tile - 1) / tile;
  // Smaller tiles where there would be too few for the threads; below 16 queries a tile wastes its
  // vectors.
  const std::int64_t others = problem_.batch * problem_.num_heads * args.num_groups;
  const std::int64_t wanted = (num_threads_ + others - 1) / others;
  const std::int64_t most = std::max<std::int64_t>(1, group_tokens / 16);
  args.tiles_per_group = std::max(args.tiles_per_group, std::min(wanted, most));
  return args;
}

std::size_t DenseForwardPlan::workspace_bytes() const {
  return scratch_bytes(kernels(isa_).dense_forward_workspace(args()), num_threads_);
}

void DenseForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                           const ConstTensorView& v, const TensorView& out, float* lse,
                           std::span<std::byte> workspace, std::int64_t lse_stride) const {
  const DenseProblem& p = problem_;
  DenseForwardArgs args = this->args();
  args.q = operand(q, "q", p.batch, p.q_tokens, p.num_heads, p.head_dim);
  args.k = operand(k, "k", p.batch, p.kv_tokens, p.num_heads, p.head_dim);
  args.v = operand(v, "v", p.batch, p.kv_tokens, p.num_heads, p.head_dim);
  args.out = result(out, "out", p.batch, p.q_tokens, p.num_heads, p.head_dim);
  args.lse = lse;
  args.lse_stride = lse_stride == 0 ? p.q_tokens : lse_stride;
  check_dtypes(isa_, args.q, args.k, args.v);
  const Kernels& table = kernels(isa_);
  const ScratchSpace scratch(workspace, table.dense_forward_workspace(args), num_threads_);
  loop_(
      num_threads_, p.batch * p.num_heads * args.num_groups * args.tiles_per_group,
      [&](std::int64_t task, int thread) { table.dense_forward(args, task, scratch.of(thread)); });
}

}  // namespace monarch::attention::cpu
