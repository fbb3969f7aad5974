#include <algorithm>
#include <utility>

#include "monarch/attention/cpu/dense_backward.h"
#include "monarch/attention/cpu/steps.h"
#include "monarch/attention/cpu/vmonarch_backward.h"

namespace monarch::attention::cpu {
namespace {

// The recomputed first frame: its queries against all keys, which lie in the split's order.
DenseBackwardArgs first_frame(const Kernels& table, const VMonarchProblem& problem,
                              const StepArgs& shape) {
  DenseBackwardArgs args;
  args.num_heads = problem.num_heads;
  args.head_dim = problem.head_dim;
  args.q_tokens = problem.height * problem.width;
  args.kv_tokens = args.lse_stride = problem.num_tokens();
  args.scale_log2 = shape.scale_log2;
  set_tiles(table, args);
  return args;
}

struct Pieces {
  std::int64_t* tokens;   // [N] in the split's order
  std::int64_t* dq_rows;  // [Nq] of the first frame, position of a token
  float* arrays;
  ScratchSpace scratch;

  Pieces(const Kernels& table, const VMonarchProblem& problem, const Steps& steps,
         std::int64_t heads, int num_threads, WorkspaceCutter& cutter)
      : tokens(cutter.take<std::int64_t>(problem.num_tokens())),
        dq_rows(cutter.take<std::int64_t>(problem.height * problem.width)),
        arrays(cutter.take<float>(heads * steps.unit_floats())),
        scratch(cutter.take_scratch(
            std::max(steps.thread_floats(), table.dense_backward_workspace(
                                                first_frame(table, problem, step_shape(problem)))),
            num_threads)) {}
};

}  // namespace

VMonarchBackwardPlan::VMonarchBackwardPlan(const VMonarchProblem& problem, int num_threads, Isa isa,
                                           ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
}

std::size_t VMonarchBackwardPlan::workspace_bytes() const {
  const StepArgs shape = step_shape(problem_);
  const Steps steps(kernels(isa_), shape, shape.rows, problem_.num_iters,
                    Steps::Direction::kBackward);
  WorkspaceCutter cutter;
  Pieces(kernels(isa_), problem_, steps,
         heads_at_once(problem_.batch * problem_.num_heads, steps.tasks_of_unit(), num_threads_),
         num_threads_, cutter);
  return cutter.bytes();
}

void VMonarchBackwardPlan::run(const BackwardInputs& inputs, const Gradients& gradients,
                               std::span<std::byte> workspace) const {
  const VMonarchProblem& p = problem_;
  const Kernels& table = kernels(isa_);
  const std::int64_t tokens = p.num_tokens();
  StepArgs args = step_shape(p);
  DenseBackwardArgs dense = first_frame(table, p, args);
  set_inputs(dense, inputs, p.batch, tokens, tokens, p.num_heads, p.head_dim);
  const Result dq = result(gradients.q, "grad_q", p.batch, tokens, p.num_heads, p.head_dim);
  const Result dk = result(gradients.k, "grad_k", p.batch, tokens, p.num_heads, p.head_dim);
  const Result dv = result(gradients.v, "grad_v", p.batch, tokens, p.num_heads, p.head_dim);
  if (p.recompute_first_frame) check_lse(inputs.lse);
  dense.lse = inputs.lse;

  const Steps steps(table, args, args.rows, p.num_iters, Steps::Direction::kBackward);
  const std::int64_t all = p.batch * p.num_heads;
  const std::int64_t at_once = heads_at_once(all, steps.tasks_of_unit(), num_threads_);
  WorkspaceCutter cutter(workspace, workspace_bytes());
  const Pieces pieces(table, p, steps, at_once, num_threads_, cutter);
  fill_tokens(p.layout(), tokens, pieces.tokens);
  for (std::int64_t position = 0; position < tokens; ++position) {
    if (pieces.tokens[position] < dense.q_tokens)
      pieces.dq_rows[pieces.tokens[position]] = position;
  }
  args.q = dense.q;
  args.k = dense.k;
  args.v = dense.v;
  args.grad_out = dense.grad_out;
  args.q_tokens = args.k_tokens = dense.k_tokens = pieces.tokens;
  args.fresh = true;
  dense.dq_rows = pieces.dq_rows;
  dense.dq = steps.dq(pieces.arrays);
  dense.dk = steps.dk(pieces.arrays);
  dense.dv = steps.dv(pieces.arrays);
  dense.unit_stride = steps.unit_floats();

  for (std::int64_t first = 0; first < all; first += at_once) {
    const std::int64_t heads = std::min(at_once, all - first);
    args.first_unit = dense.first_head = first;
    for (std::int64_t unit = 0; unit < heads; ++unit) {
      float* keys = dense.dk + unit * dense.unit_stride;  // dk and dv, one after the other
      fill_zero(loop_, num_threads_, keys, 2 * tokens * row_floats(p.head_dim));
    }
    steps.backward(loop_, num_threads_, args, heads, 0, pieces.arrays, pieces.scratch);
    if (p.recompute_first_frame) {
      add_dense_gradients(table, loop_, num_threads_, dense, heads, pieces.scratch);
    }
    const StoreHeads what{p.num_heads, first, heads, dense.unit_stride, tokens};
    const auto store = [&](const float* rows, const Result& to, float scale) {
      store_heads(table, loop_, num_threads_, what,
                  {.rows = rows,
                   .tokens = pieces.tokens,
                   .to = to,
                   .head_dim = p.head_dim,
                   .scale = scale});
    };
    store(dense.dq, dq, args.scale_log2);
    store(dense.dk, dk, 1.0F);
    store(dense.dv, dv, 1.0F);
  }
}

}  // namespace monarch::attention::cpu
