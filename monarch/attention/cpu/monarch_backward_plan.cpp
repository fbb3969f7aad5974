#include <algorithm>
#include <utility>

#include "monarch/attention/cpu/monarch_backward.h"

namespace monarch::attention::cpu {

MonarchBackwardPlan::MonarchBackwardPlan(const MonarchProblem& problem, int num_threads, Isa isa,
                                         ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
  check_one_step(problem_.num_iters);
  // A task is a head; more threads than heads would only hold workspace.
  num_threads_ =
      static_cast<int>(std::min<std::int64_t>(num_threads, problem_.batch * problem_.num_heads));
}

MonarchBackwardArgs MonarchBackwardPlan::args() const {
  MonarchBackwardArgs args;
  args.layout = problem_.layout();
  args.num_heads = problem_.num_heads;
  args.head_dim = problem_.head_dim;
  args.num_q_blocks = problem_.num_q_blocks();
  args.num_kv_blocks = problem_.num_kv_blocks();
  if (problem_.block_causal_size > 0) {
    args.causal_group = problem_.block_causal_size / args.layout.block_tokens();
  }
  args.kv_block_order = problem_.kv_block_order;
  args.scale = static_cast<float>(problem_.scale());
  return args;
}

std::size_t MonarchBackwardPlan::workspace_bytes() const {
  return scratch_bytes(kernels(isa_).monarch_backward_workspace(args()), num_threads_);
}

void MonarchBackwardPlan::run(const BackwardInputs& inputs, const Gradients& gradients,
                              std::span<std::byte> workspace) const {
  const MonarchProblem& p = problem_;
  MonarchBackwardArgs args = this->args();
  set_inputs(args, inputs, p.batch, p.q_tokens(), p.kv_tokens(), p.num_heads, p.head_dim);
  args.grad_q = result(gradients.q, "grad_q", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  args.grad_k = result(gradients.k, "grad_k", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.grad_v = result(gradients.v, "grad_v", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  check_lse(inputs.lse);
  args.lse = inputs.lse;
  const Kernels& table = kernels(isa_);
  const ScratchSpace scratch(workspace, table.monarch_backward_workspace(args), num_threads_);
  loop_(num_threads_, p.batch * p.num_heads, [&](std::int64_t task, int thread) {
    table.monarch_backward(args, task, scratch.of(thread));
  });
}

}  // namespace monarch::attention::cpu
