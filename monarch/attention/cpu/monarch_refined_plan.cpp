#include <algorithm>
#include <utility>

#include "monarch/attention/cpu/monarch_refined.h"
#include "monarch/attention/cpu/steps.h"

namespace monarch::attention::cpu {

MonarchRefinedPlan::MonarchRefinedPlan(const MonarchProblem& problem, int num_threads, Isa isa,
                                       ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
}

// A unit is a query block of a head.
struct MonarchRefinedPlan::Pieces {
  StepArgs shape;
  Steps steps;
  std::int64_t units;
  std::int64_t units_at_once;
  std::int64_t* q_tokens;  // [Nq] in block order
  std::int64_t* k_tokens;  // [Nkv] in the order of blocks
  float* arrays;
  ScratchSpace scratch;

  Pieces(const MonarchRefinedPlan& plan, WorkspaceCutter& cutter)
      : shape(step_shape(plan.problem_, 1, plan.problem_.num_kv_blocks())),
        steps(kernels(plan.isa_), shape, shape.rows, plan.problem_.num_iters,
              Steps::Direction::kForward),
        units(plan.problem_.batch * plan.problem_.num_heads * plan.problem_.num_q_blocks()),
        units_at_once(heads_at_once(units, steps.tasks_of_unit(), plan.num_threads_)),
        q_tokens(cutter.take<std::int64_t>(plan.problem_.q_tokens())),
        k_tokens(cutter.take<std::int64_t>(plan.problem_.kv_tokens())),
        arrays(cutter.take<float>(units_at_once * steps.unit_floats())),
        scratch(cutter.take_scratch(steps.thread_floats(), plan.num_threads_)) {}
};

std::size_t MonarchRefinedPlan::workspace_bytes() const {
  WorkspaceCutter cutter;
  Pieces(*this, cutter);
  return cutter.bytes();
}

void MonarchRefinedPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                             const ConstTensorView& v, const TensorView& out,
                             std::span<std::byte> workspace) const {
  const MonarchProblem& p = problem_;
  WorkspaceCutter cutter(workspace, workspace_bytes());
  const Pieces pieces(*this, cutter);
  StepArgs args = pieces.shape;
  args.q = operand(q, "q", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  args.k = operand(k, "k", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.v = operand(v, "v", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  args.result = result(out, "out", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  args.num_blocks = p.num_q_blocks();
  args.q_tokens = pieces.q_tokens;
  args.k_tokens = pieces.k_tokens;
  fill_tokens(p.layout(), p.q_tokens(), pieces.q_tokens);
  fill_key_tokens(p, pieces.k_tokens);
  for (std::int64_t first = 0; first < pieces.units; first += pieces.units_at_once) {
    args.first_unit = first;
    pieces.steps.forward(loop_, num_threads_, args,
                         std::min(pieces.units_at_once, pieces.units - first), pieces.arrays,
                         pieces.scratch);
  }
}

}  // namespace monarch::attention::cpu
