#include <algorithm>
#include <numbers>
#include <utility>

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/cpu/vmonarch_forward.h"

namespace monarch::attention::cpu {

VMonarchForwardPlan::VMonarchForwardPlan(const VMonarchProblem& problem, int num_threads, Isa isa,
                                         ParallelLoop loop)
    : problem_(problem), num_threads_(num_threads), isa_(isa), loop_(std::move(loop)) {
  check_plan(problem_, num_threads);
}

VMonarchForwardArgs VMonarchForwardPlan::args() const {
  VMonarchForwardArgs args;
  args.layout = problem_.layout();
  args.head_dim = problem_.head_dim;
  args.scale_log2 = static_cast<float>(problem_.scale() * std::numbers::log2e);
  args.c_r_min = static_cast<float>(problem_.c_r_min);
  const std::int64_t cols = args.layout.num_cols();
  const std::int64_t tile = kernels(isa_).vmonarch_row_tile();
  args.row_tiles = (cols + tile - 1) / tile;
  // Smaller tiles where there would be too few for the threads; below 16 rows a tile wastes its
  // vectors.
  const std::int64_t wanted = (num_threads_ + args.layout.num_rows() - 1) / args.layout.num_rows();
  args.row_tiles = std::max(args.row_tiles, std::min(wanted, std::max<std::int64_t>(1, cols / 16)));
  return args;
}

DenseForwardPlan VMonarchForwardPlan::first_frame() const {
  const VMonarchProblem& p = problem_;
  return {{.batch = p.batch,
           .num_heads = p.num_heads,
           .head_dim = p.head_dim,
           .q_tokens = p.height * p.width,
           .kv_tokens = p.num_tokens(),
           .softmax_scale = p.scale()},
          num_threads_,
          isa_,
          loop_};
}

std::size_t VMonarchForwardPlan::workspace_bytes() const {
  const Kernels& table = kernels(isa_);
  const std::size_t own = scratch_bytes(table.vmonarch_forward_workspace(args()), num_threads_) +
                          scratch_bytes(table.vmonarch_forward_shared(args()), 1);
  return problem_.recompute_first_frame ? std::max(own, first_frame().workspace_bytes()) : own;
}

void VMonarchForwardPlan::run(const ConstTensorView& q, const ConstTensorView& k,
                              const ConstTensorView& v, const TensorView& out, float* lse,
                              std::span<std::byte> workspace) const {
  const VMonarchProblem& p = problem_;
  const Kernels& table = kernels(isa_);
  VMonarchForwardArgs args = this->args();
  const std::int64_t tokens = p.num_tokens();
  args.q = operand(q, "q", p.batch, tokens, p.num_heads, p.head_dim);
  args.k = operand(k, "k", p.batch, tokens, p.num_heads, p.head_dim);
  args.v = operand(v, "v", p.batch, tokens, p.num_heads, p.head_dim);
  args.out = result(out, "out", p.batch, tokens, p.num_heads, p.head_dim);
  check_dtypes(isa_, args.q, args.k, args.v);
  check_workspace(workspace, workspace_bytes());

  const std::size_t shared_bytes = scratch_bytes(table.vmonarch_forward_shared(args), 1);
  const ScratchSpace shared(workspace.first(shared_bytes), table.vmonarch_forward_shared(args), 1);
  const ScratchSpace scratch(workspace.subspan(shared_bytes),
                             table.vmonarch_forward_workspace(args), num_threads_);
  const std::int64_t piece =
      static_cast<std::int64_t>(table.vmonarch_forward_shared(args) - tokens) / 3;
  args.a_l = shared.of(0);
  args.y = args.a_l + piece;
  args.a_r = args.y + piece;
  args.minus_entropy = args.a_r + piece;

  const std::int64_t row_tasks = args.layout.num_rows() * args.row_tiles;
  const std::int64_t column_tasks =
      (args.layout.num_cols() + kVMonarchColumns - 1) / kVMonarchColumns;
  for (std::int64_t index = 0; index < p.batch * p.num_heads; ++index) {
    args.batch = index / p.num_heads;
    args.head = index % p.num_heads;
    for (std::int64_t iteration = 0; iteration < p.num_iters; ++iteration) {
      args.first_iteration = iteration == 0;
      args.last_iteration = iteration + 1 == p.num_iters;
      loop_(num_threads_, row_tasks, [&](std::int64_t task, int thread) {
        table.vmonarch_rows(args, task, scratch.of(thread));
      });
      loop_(num_threads_, column_tasks, [&](std::int64_t task, int thread) {
        table.vmonarch_columns(args, task, scratch.of(thread));
      });
    }
  }
  if (!p.recompute_first_frame) return;
  ConstTensorView first_q = q;
  TensorView first_out = out;
  first_q.shape[1] = first_out.shape[1] = p.height * p.width;
  first_frame().run(first_q, k, v, first_out, lse, workspace, tokens);
}

}  // namespace monarch::attention::cpu
