#include <algorithm>
#include <utility>

#include "monarch/attention/cpu/monarch_backward.h"
#include "monarch/attention/cpu/steps.h"

namespace monarch::attention::cpu {
namespace {

// Query blocks that see the same keys.
std::int64_t blocks_together(const MonarchProblem& problem) {
  return problem.block_causal_size == 0
             ? problem.num_q_blocks()
             : problem.block_causal_size / problem.layout().block_tokens();
}

// Tokens [I, blocks J] of query blocks side by side.
void fill_query_tokens(const MonarchProblem& problem, std::int64_t first, std::int64_t blocks,
                       std::int64_t* tokens) {
  const BlockLayout layout = problem.layout();
  for (std::int64_t i = 0; i < layout.block_rows(); ++i) {
    for (std::int64_t block = first; block < first + blocks; ++block) {
      const std::int64_t position = (block * layout.block_rows() + i) * layout.block_cols();
      for (std::int64_t j = 0; j < layout.block_cols(); ++j)
        *tokens++ = layout.token_of_position(position + j);
    }
  }
}

}  // namespace

MonarchBackwardPlan::MonarchBackwardPlan(const MonarchProblem& problem, int num_threads, Isa isa,
                                         ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
}

// Blocks worked on at once; results depend on them, so they depend on sizes alone. Where iterations
// need the intermediates of all key blocks, one query block's are enough. Otherwise query blocks
// that see the same keys stand side by side, as many as fit a tile, against some key
// blocks, for whose rows a column's queries are brought in once.
StepArgs MonarchBackwardPlan::shape() const {
  if (problem_.num_iters > 1) return step_shape(problem_, 1, problem_.num_kv_blocks());
  const BlockLayout layout = problem_.layout();
  const std::int64_t q_blocks = std::clamp<std::int64_t>(
      kernels(isa_).gradient_query_tile() / layout.block_cols(), 1, blocks_together(problem_));
  constexpr std::int64_t kFloats = 5 << 20;
  const std::int64_t pair =
      q_blocks * layout.block_tokens() * (2 * row_floats(problem_.head_dim) + layout.block_cols());
  return step_shape(problem_, q_blocks,
                    std::clamp<std::int64_t>(kFloats / pair, 1, problem_.num_kv_blocks()));
}

// Whether the query blocks side by side are all there are and see every key.
bool MonarchBackwardPlan::whole_keys(const StepArgs& shape) const {
  return shape.cols == problem_.num_q_blocks() * shape.keys &&
         problem_.visible_blocks(0) == problem_.num_kv_blocks();
}

struct MonarchBackwardPlan::Pieces {
  StepArgs shape;
  Steps steps;
  std::int64_t heads_at_once;
  std::int64_t* q_tokens;  // [I, P] of the query blocks at hand
  std::int64_t* k_tokens;  // [Nkv] in the order of blocks
  float* arrays;
  ScratchSpace scratch;

  Pieces(const MonarchBackwardPlan& plan, WorkspaceCutter& cutter)
      : shape(plan.shape()),
        steps(kernels(plan.isa_), shape, plan.problem_.num_kv_blocks() * shape.queries,
              plan.problem_.num_iters, Steps::Direction::kBackward, plan.whole_keys(shape)),
        heads_at_once(cpu::heads_at_once(plan.problem_.batch * plan.problem_.num_heads,
                                         steps.tasks_of_unit(), plan.num_threads_)),
        q_tokens(cutter.take<std::int64_t>(shape.queries * shape.cols)),
        k_tokens(cutter.take<std::int64_t>(plan.problem_.kv_tokens())),
        arrays(cutter.take<float>(heads_at_once * steps.unit_floats())),
        scratch(cutter.take_scratch(steps.thread_floats(), plan.num_threads_)) {}
};

std::size_t MonarchBackwardPlan::workspace_bytes() const {
  WorkspaceCutter cutter;
  Pieces(*this, cutter);
  return cutter.bytes();
}

void MonarchBackwardPlan::run(const BackwardInputs& inputs, const Gradients& gradients,
                              std::span<std::byte> workspace) const {
  const MonarchProblem& p = problem_;
  const Kernels& table = kernels(isa_);
  WorkspaceCutter cutter(workspace, workspace_bytes());
  const Pieces pieces(*this, cutter);
  const Steps& steps = pieces.steps;
  StepArgs args = pieces.shape;
  set_inputs(args, inputs, p.batch, p.q_tokens(), p.kv_tokens(), p.num_heads, p.head_dim);
  const Result dq = result(gradients.q, "grad_q", p.batch, p.q_tokens(), p.num_heads, p.head_dim);
  const Result dk = result(gradients.k, "grad_k", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  const Result dv = result(gradients.v, "grad_v", p.batch, p.kv_tokens(), p.num_heads, p.head_dim);
  if (p.num_iters == 1) {
    check_lse(inputs.lse);
    args.lse = inputs.lse;
    args.lse_stride = p.q_tokens();
  }
  fill_key_tokens(p, pieces.k_tokens);
  args.q_tokens = pieces.q_tokens;
  args.grad_k = dk;
  args.grad_v = dv;

  const std::int64_t all = p.batch * p.num_heads;
  const std::int64_t key_floats = 2 * p.kv_tokens() * row_floats(p.head_dim);
  for (std::int64_t first = 0; first < all; first += pieces.heads_at_once) {
    const std::int64_t heads = std::min(pieces.heads_at_once, all - first);
    args.first_unit = first;
    for (std::int64_t unit = 0; unit < heads && !steps.stores_keys(); ++unit) {
      float* arrays = pieces.arrays + unit * steps.unit_floats();
      fill_zero(loop_, num_threads_, steps.dk(arrays), key_floats);  // and dv
    }
    StoreHeads what{p.num_heads, first, heads, steps.unit_floats(), 0};
    const auto store = [&](const float* rows, const std::int64_t* tokens, const Result& to,
                           float scale) {
      store_heads(
          table, loop_, num_threads_, what,
          {.rows = rows, .tokens = tokens, .to = to, .head_dim = p.head_dim, .scale = scale});
    };
    const std::int64_t together = blocks_together(p);
    const std::int64_t most = pieces.shape.cols / args.keys;
    for (std::int64_t a = 0; a < p.num_q_blocks();) {
      const std::int64_t blocks = std::min(most, together - a % together);
      const std::int64_t rows = p.visible_blocks(a) * args.queries;
      args.cols = blocks * args.keys;
      fill_query_tokens(p, a, blocks, pieces.q_tokens);
      args.fresh = true;
      for (std::int64_t row = 0; row < rows; row += pieces.shape.rows) {
        args.rows = std::min(pieces.shape.rows, rows - row);
        args.k_tokens = pieces.k_tokens + row * args.keys;
        steps.backward(loop_, num_threads_, args, heads, row, pieces.arrays, pieces.scratch);
        args.fresh = false;
      }
      what.count = args.queries * args.cols;
      store(steps.dq(pieces.arrays), args.q_tokens, dq, args.scale_log2);
      a += blocks;
    }
    if (steps.stores_keys()) continue;
    what.count = p.kv_tokens();
    store(steps.dk(pieces.arrays), pieces.k_tokens, dk, 1.0F);
    store(steps.dv(pieces.arrays), pieces.k_tokens, dv, 1.0F);
  }
}

}  // namespace monarch::attention::cpu
