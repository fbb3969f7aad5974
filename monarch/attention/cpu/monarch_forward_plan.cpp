#include <algorithm>
#include <cstdint>
#include <numbers>
#include <utility>

#include "monarch/attention/cpu/monarch_forward.h"
#include "monarch/attention/cpu/plan.h"

namespace monarch::attention::cpu {

MonarchForwardPlan::MonarchForwardPlan(const MonarchProblem& problem, int num_threads, Isa isa,
                                       ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
  MONARCH_CHECK_CODE(problem_.num_iters == 1, kUnsupported,
                     "[monarch_attention] this kernel does one refinement step; got num_iters ",
                     problem_.num_iters, "; MonarchRefinedPlan does several");
  column_groups_ = column_groups();
}

// Keys brought in serve all columns of a task, and vectors run along them: few wide tasks are best,
// even where a task's scratch is far beyond a core's own cache (what it reads there comes in order,
// and the keys do not), as long as all threads are busy.
std::int64_t MonarchForwardPlan::column_groups() const {
  constexpr std::size_t kScratchFloats = 4 << 20;
  constexpr double kBusy = 0.9;
  MonarchForwardArgs args = this->args();
  const std::int64_t together = args.causal_group == 0 ? args.num_q_blocks : args.causal_group;
  const std::int64_t others = problem_.batch * problem_.num_heads * (args.num_q_blocks / together);
  const std::int64_t most = std::max<std::int64_t>(1, together * args.layout.block_cols() / 16);
  std::int64_t& groups = args.column_groups;
  while (groups < most && kernels(isa_).monarch_forward_workspace(args) > kScratchFloats) ++groups;
  std::int64_t best = groups;
  double best_busy = 0;
  for (; groups <= most && best_busy < kBusy; ++groups) {
    const std::int64_t tasks = others * groups;
    const std::int64_t rounds = (tasks + num_threads_ - 1) / num_threads_;
    const double busy = double(tasks) / double(rounds * num_threads_);
    if (busy > best_busy) {
      best = groups;
      best_busy = busy;
    }
  }
  return best;
}

MonarchForwardArgs MonarchForwardPlan::args() const {
  MonarchForwardArgs args;
  args.layout = problem_.layout();
  args.num_heads = problem_.num_heads;
  args.head_dim = problem_.head_dim;
  args.num_q_blocks = problem_.num_q_blocks();
  args.num_kv_blocks = problem_.num_kv_blocks();
  if (problem_.block_causal_size > 0) {
    args.causal_group = problem_.block_causal_size / args.layout.block_tokens();
  }
  args.kv_block_order = problem_.kv_block_order;
  args.scale_log2 = static_cast<float>(problem_.scale() * std::numbers::log2e);
  args.column_groups = column_groups_;
  return args;
}

std::size_t MonarchForwardPlan::workspace_bytes() const {
  return scratch_bytes(kernels(isa_).monarch_forward_workspace(args()), num_threads_);
}

void MonarchForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                             const ConstTensorView& v, const TensorView& out, float* lse,
                             std::span<std::byte> workspace) const {
  const MonarchProblem& p = problem_;
  MonarchForwardArgs args = this->args();
  args.q = operand(q, "q", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  args.k = operand(k, "k", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.v = operand(v, "v", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.out = result(out, "out", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  args.lse = lse;
  check_dtypes(isa_, args.q, args.k, args.v);
  const Kernels& table = kernels(isa_);
  const std::size_t floats = table.monarch_forward_workspace(args);
  const ScratchSpace scratch(workspace, floats, num_threads_);
  const std::int64_t causal_blocks =
      args.causal_group == 0 ? 1 : args.num_q_blocks / args.causal_group;
  loop_(num_threads_, p.batch * p.num_heads * causal_blocks * args.column_groups,
        [&](std::int64_t task, int thread) {
          table.monarch_forward(args, task, scratch.of(thread));
        });
}

}  // namespace monarch::attention::cpu
