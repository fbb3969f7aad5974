#include <algorithm>
#include <utility>

#include "monarch/attention/cpu/monarch_backward.h"
#include "monarch/attention/cpu/operand.h"

namespace monarch::attention::cpu {

MonarchBackwardPlan::MonarchBackwardPlan(const MonarchProblem& problem, int num_threads, Isa isa,
                                         ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  validate(problem_);
  check_threads(num_threads);
  check_head_dim(problem_.head_dim);
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

void MonarchBackwardPlan::run(const MonarchBackwardInputs& inputs, const TensorView& grad_q,
                              const TensorView& grad_k, const TensorView& grad_v,
                              std::span<std::byte> workspace) const {
  const MonarchProblem& p = problem_;
  MonarchBackwardArgs args = this->args();
  const auto of_queries = [&](const ConstTensorView& tensor, std::string_view name) {
    return operand(tensor, name, p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  };
  args.q = of_queries(inputs.q, "q");
  args.k = operand(inputs.k, "k", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.v = operand(inputs.v, "v", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.out = of_queries(inputs.out, "out");
  args.grad_out = of_queries(inputs.grad_out, "grad_out");
  args.grad_q = result(grad_q, "grad_q", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  args.grad_k = result(grad_k, "grad_k", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.grad_v = result(grad_v, "grad_v", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  MONARCH_CHECK(inputs.lse != nullptr,
                "[monarch_attention] the backward needs the forward's lse; pass one to its run()");
  args.lse = inputs.lse;
  const Kernels& table = kernels(isa_);
  const ScratchSpace scratch(workspace, table.monarch_backward_workspace(args), num_threads_);
  loop_(num_threads_, p.batch * p.num_heads, [&](std::int64_t task, int thread) {
    table.monarch_backward(args, task, scratch.of(thread));
  });
}

}  // namespace monarch::attention::cpu
