#include <algorithm>
#include <numbers>
#include <utility>

#include "monarch/attention/cpu/dense_backward.h"

namespace monarch::attention::cpu {

void set_tiles(const Kernels& kernels, DenseBackwardArgs& args) {
  // Groups enough for the threads of a large machine; below 32 queries a tile wastes its time on
  // sums of key gradients in memory.
  constexpr std::int64_t kMostGroups = 16;
  constexpr std::int64_t kLeastQueries = 32;
  constexpr std::int64_t kLeastKeys = 96;
  const std::int64_t group_tokens = args.q_tokens / args.num_groups;
  const std::int64_t even = (args.q_tokens / kMostGroups + 15) / 16 * 16;
  args.query_tile =
      std::clamp(even, kLeastQueries, std::max(kLeastQueries, kernels.gradient_query_tile()));
  args.tiles_per_group = (group_tokens + args.query_tile - 1) / args.query_tile;
  args.grid = std::clamp<std::int64_t>(
      std::min(args.num_groups * args.tiles_per_group, args.kv_tokens / kLeastKeys), 1,
      kMostGroups);
}

void add_dense_gradients(const Kernels& kernels, const ParallelLoop& loop, int num_threads,
                         DenseBackwardArgs args, std::int64_t heads, const ScratchSpace& scratch) {
  for (args.step = 0; args.step < args.grid; ++args.step) {
    loop(num_threads, heads * args.grid, [&](std::int64_t task, int thread) {
      kernels.dense_backward(args, task, scratch.of(thread));
    });
  }
}

DenseBackwardPlan::DenseBackwardPlan(const DenseProblem& problem, int num_threads, Isa isa,
                                     ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
  heads_at_once_ =
      heads_at_once(problem_.batch * problem_.num_heads, this->args().grid, num_threads);
}

DenseBackwardArgs DenseBackwardPlan::args() const {
  DenseBackwardArgs args;
  args.num_heads = problem_.num_heads;
  args.head_dim = problem_.head_dim;
  args.q_tokens = problem_.q_tokens;
  args.kv_tokens = problem_.kv_tokens;
  args.lse_stride = problem_.q_tokens;
  args.scale_log2 = static_cast<float>(problem_.scale() * std::numbers::log2e);
  if (problem_.block_causal_size > 0)
    args.num_groups = problem_.q_tokens / problem_.block_causal_size;
  args.unit_stride = (args.q_tokens + 2 * args.kv_tokens) * row_floats(args.head_dim);
  set_tiles(kernels(isa_), args);
  return args;
}

struct DenseBackwardPlan::Pieces {
  float* sums;
  ScratchSpace scratch;

  Pieces(const DenseBackwardPlan& plan, const DenseBackwardArgs& args, WorkspaceCutter& cutter)
      : sums(cutter.take<float>(plan.heads_at_once_ * args.unit_stride)),
        scratch(cutter.take_scratch(kernels(plan.isa_).dense_backward_workspace(args),
                                    plan.num_threads_)) {}
};

std::size_t DenseBackwardPlan::workspace_bytes() const {
  WorkspaceCutter cutter;
  Pieces(*this, args(), cutter);
  return cutter.bytes();
}

void DenseBackwardPlan::run(const BackwardInputs& inputs, const Gradients& gradients,
                            std::span<std::byte> workspace) const {
  const DenseProblem& p = problem_;
  const Kernels& table = kernels(isa_);
  DenseBackwardArgs args = this->args();
  set_inputs(args, inputs, p.batch, p.q_tokens, p.kv_tokens, p.num_heads, p.head_dim);
  check_lse(inputs.lse);
  args.lse = inputs.lse;
  const Result dq = result(gradients.q, "grad_q", p.batch, p.q_tokens, p.num_heads, p.head_dim);
  const Result dk = result(gradients.k, "grad_k", p.batch, p.kv_tokens, p.num_heads, p.head_dim);
  const Result dv = result(gradients.v, "grad_v", p.batch, p.kv_tokens, p.num_heads, p.head_dim);

  WorkspaceCutter cutter(workspace, workspace_bytes());
  const Pieces pieces(*this, args, cutter);
  args.dq = pieces.sums;
  args.dk = args.dq + p.q_tokens * row_floats(p.head_dim);
  args.dv = args.dk + p.kv_tokens * row_floats(p.head_dim);

  const std::int64_t all = p.batch * p.num_heads;
  for (args.first_head = 0; args.first_head < all; args.first_head += heads_at_once_) {
    const std::int64_t heads = std::min(heads_at_once_, all - args.first_head);
    fill_zero(loop_, num_threads_, args.dq, heads * args.unit_stride);
    add_dense_gradients(table, loop_, num_threads_, args, heads, pieces.scratch);
    StoreHeads what{p.num_heads, args.first_head, heads, args.unit_stride, p.q_tokens};
    const auto store = [&](const float* rows, const Result& to, float scale) {
      store_heads(table, loop_, num_threads_, what,
                  {.rows = rows, .to = to, .head_dim = p.head_dim, .scale = scale});
    };
    store(args.dq, dq, args.scale_log2);
    what.count = p.kv_tokens;
    store(args.dk, dk, 1.0F);
    store(args.dv, dv, 1.0F);
  }
}

}  // namespace monarch::attention::cpu
