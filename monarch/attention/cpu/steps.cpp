#include "monarch/attention/cpu/steps.h"

#include <algorithm>
#include <limits>
#include <numbers>
#include <numeric>

namespace monarch::attention::cpu {

StepArgs step_shape(const VMonarchProblem& problem) {
  StepArgs args;
  args.num_heads = problem.num_heads;
  args.head_dim = problem.head_dim;
  args.queries = args.rows = problem.layout().num_rows();
  args.cols = args.keys = problem.layout().num_cols();
  args.scale_log2 = static_cast<float>(problem.scale() * std::numbers::log2e);
  args.c_r_min = static_cast<float>(problem.c_r_min);
  if (problem.recompute_first_frame) args.zero_tokens = problem.height * problem.width;
  return args;
}

StepArgs step_shape(const MonarchProblem& problem, std::int64_t q_blocks, std::int64_t kv_blocks) {
  StepArgs args;
  args.num_heads = problem.num_heads;
  args.head_dim = problem.head_dim;
  args.queries = problem.layout().block_rows();
  args.rows = kv_blocks * args.queries;
  args.keys = problem.layout().block_cols();
  args.cols = q_blocks * args.keys;
  args.scale_log2 = static_cast<float>(problem.scale() * std::numbers::log2e);
  args.entropy_gradient = true;
  if (problem.num_iters > 1) {
    args.c_r_add = 1e-6F;
    args.c_r_min = 1e-4F;
  }
  return args;
}

void fill_key_tokens(const MonarchProblem& problem, std::int64_t* tokens) {
  if (problem.kv_block_order) {
    std::iota(tokens, tokens + problem.kv_tokens(), std::int64_t{0});
  } else {
    fill_tokens(problem.layout(), problem.kv_tokens(), tokens);
  }
}

namespace {

// Short rows come one after the other, so that the next can be brought in meanwhile; a task takes
// about so many. And columns.
constexpr std::int64_t kShortRows = 4;
constexpr std::int64_t kColumns = 8;

// Items a task takes one after the other, `least` to `most`: as many as share those of all units
// most evenly among the threads. Results do not depend on it.
std::int64_t even_run(std::int64_t items, std::int64_t units, int num_threads, std::int64_t least,
                      std::int64_t most) {
  std::int64_t best = 1;
  std::int64_t least_work = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t run = most; run >= least; --run) {
    const std::int64_t tasks = units * ((items + run - 1) / run);
    const std::int64_t work = (tasks + num_threads - 1) / num_threads * run;
    if (work < least_work) {
      best = run;
      least_work = work;
    }
  }
  return best;
}

}  // namespace

Steps::Steps(const Kernels& kernels, const StepArgs& shape, std::int64_t all_rows,
             std::int64_t num_iters, Direction direction, bool whole_keys)
    : kernels_(kernels), num_iters_(num_iters), backward_(direction == Direction::kBackward) {
  const std::int64_t tile = kernels.step_row_tile();
  row_tiles_ = (shape.cols + tile - 1) / tile;
  short_rows_ = shape.keys <= kernels.step_key_tile();
  const std::int64_t run = short_rows_ ? std::min(kShortRows, shape.queries) : 1;
  const std::int64_t runs = (shape.queries + run - 1) / run;
  if (backward_) {
    // Long rows are cut where there are too few for the threads of a large machine. Results depend
    // on the cut, so it depends on sizes alone.
    constexpr std::int64_t kTasks = 16;
    grid_ = std::clamp<std::int64_t>((kTasks + runs - 1) / runs, 1,
                                     std::max<std::int64_t>(1, shape.keys / 128));
  }
  tasks_of_unit_ = runs * (backward_ ? grid_ : row_tiles_);
  stores_keys_ =
      whole_keys && num_iters == 1 && grid_ == 1 && shape.cols <= kernels.gradient_query_tile();
  // Weights kept from the recomputed forward spare one product of seven. Of several iterations they
  // would take as much memory as all else.
  keeps_log_r_ = backward_ && num_iters == 1 && shape.keys <= kernels.step_key_tile() &&
                 shape.cols <= kernels.gradient_query_tile();
  // Where rows come some at a time, each time meets the same queries.
  packs_queries_ = backward_ && num_iters == 1 && shape.rows < all_rows;
  thread_floats_ = kernels.step_workspace(shape, backward_);

  const std::int64_t width = row_floats(shape.head_dim);
  const std::int64_t cells = shape.cols * shape.rows;
  std::int64_t used = 0;
  const auto take = [&](std::int64_t& offset, std::int64_t floats) {
    offset = used;
    used += (floats + 15) / 16 * 16;
  };
  take(y_, cells * width);
  if (backward_) {
    if (num_iters > 1) {
      take(da_r_, cells * width);
      take(dc_r_, cells);
    }
    take(delta_, cells);
    take(dq_, shape.queries * shape.cols * width);
    if (packs_queries_) {
      for (std::int64_t* rows : {&q_cols_, &g_cols_})
        take(*rows, shape.queries * shape.cols * width);
      for (std::int64_t* sums : {&query_lse_, &mean_}) {
        take(*sums, kernels.step_padded(shape.queries) * shape.cols);
      }
    }
    if (!stores_keys_) {
      take(dk_, all_rows * shape.keys * width);
      take(dv_, all_rows * shape.keys * width);
    }
  }
  const std::int64_t once = used;
  take(a_l_, cells * width);
  take(c_l_, cells);
  if (keeps_log_r_) {
    take(log_r_, shape.rows * shape.keys * kernels.step_padded(shape.cols));
  } else if (backward_) {
    take(row_lse_, cells);
  }
  const std::int64_t last = used - once;
  take(next_a_r_, cells * width);
  if (backward_) take(next_c_r_, cells);
  const std::int64_t others = used - once;
  // The forward goes over one iteration's arrays again and again.
  iteration_ = backward_ ? others : 0;
  unit_floats_ =
      once + (num_iters - 1) * iteration_ + (num_iters == 1 || backward_ ? last : others);
}

void Steps::set_arrays(StepArgs& args, std::int64_t iteration, float* arrays) const {
  args.first = iteration == 0;
  args.last = iteration + 1 == num_iters_;
  float* mine = arrays + iteration * iteration_;
  args.a_r = args.first ? nullptr : mine - iteration_ + next_a_r_;
  args.c_r = args.first || !backward_ ? nullptr : mine - iteration_ + next_c_r_;
  args.a_l = mine + a_l_;
  args.c_l = mine + c_l_;
  args.y = args.last ? arrays + y_ : nullptr;
  args.log_r = keeps_log_r_ ? mine + log_r_ : nullptr;
  args.row_lse = backward_ && !keeps_log_r_ ? mine + row_lse_ : nullptr;
  args.next_a_r = args.last ? nullptr : mine + next_a_r_;
  args.next_c_r = args.last || !backward_ ? nullptr : mine + next_c_r_;
}

void Steps::cut(StepArgs& args, std::int64_t units, int num_threads) const {
  args.unit_stride = unit_floats_;
  args.row_tiles = row_tiles_;
  args.row_run =
      short_rows_ ? even_run(args.queries, units, num_threads, kShortRows - 1, kShortRows + 2) : 1;
  args.column_run = even_run(args.cols, units, num_threads, kColumns - 2, kColumns + 2);
}

void Steps::run_rows(const ParallelLoop& loop, int num_threads, const StepArgs& args,
                     std::int64_t units, const ScratchSpace& scratch) const {
  const std::int64_t runs = (args.queries + args.row_run - 1) / args.row_run;
  loop(num_threads, units * runs * args.row_tiles,
       [&](std::int64_t task, int thread) { kernels_.step_rows(args, task, scratch.of(thread)); });
}

void Steps::run_columns(const ParallelLoop& loop, int num_threads, const StepArgs& args,
                        std::int64_t units, const ScratchSpace& scratch,
                        void (*kernel)(const StepArgs&, std::int64_t, float*)) {
  const std::int64_t runs = (args.cols + args.column_run - 1) / args.column_run;
  loop(num_threads, units * runs,
       [&](std::int64_t task, int thread) { kernel(args, task, scratch.of(thread)); });
}

void Steps::forward(const ParallelLoop& loop, int num_threads, StepArgs args, std::int64_t units,
                    float* arrays, const ScratchSpace& scratch) const {
  cut(args, units, num_threads);
  for (std::int64_t iteration = 0; iteration < num_iters_; ++iteration) {
    set_arrays(args, iteration, arrays);
    run_rows(loop, num_threads, args, units, scratch);
    run_columns(loop, num_threads, args, units, scratch, kernels_.step_columns);
  }
}

void Steps::backward(const ParallelLoop& loop, int num_threads, StepArgs args, std::int64_t units,
                     std::int64_t first_row, float* arrays, const ScratchSpace& scratch) const {
  cut(args, units, num_threads);
  const std::int64_t runs = (args.queries + args.row_run - 1) / args.row_run;
  args.grid = grid_;
  const std::int64_t offset = first_row * args.keys * row_floats(args.head_dim);
  args.da_r = num_iters_ > 1 ? arrays + da_r_ : nullptr;
  args.dc_r = num_iters_ > 1 ? arrays + dc_r_ : nullptr;
  args.delta = arrays + delta_;
  args.dq = arrays + dq_;
  if (packs_queries_) {
    args.q_cols = arrays + q_cols_;
    args.g_cols = arrays + g_cols_;
    args.query_lse = arrays + query_lse_;
    args.mean = arrays + mean_;
  }
  args.dk = stores_keys_ ? nullptr : arrays + dk_ + offset;
  args.dv = stores_keys_ ? nullptr : arrays + dv_ + offset;
  for (std::int64_t iteration = 0; iteration < num_iters_; ++iteration) {
    set_arrays(args, iteration, arrays);
    run_rows(loop, num_threads, args, units, scratch);
    if (!args.last) run_columns(loop, num_threads, args, units, scratch, kernels_.step_columns);
  }
  for (std::int64_t iteration = num_iters_ - 1; iteration >= 0; --iteration) {
    set_arrays(args, iteration, arrays);
    run_columns(loop, num_threads, args, units, scratch, kernels_.step_columns_backward);
    args.fresh = false;
    for (args.step = 0; args.step < grid_; ++args.step) {
      loop(num_threads, units * runs * grid_, [&](std::int64_t task, int thread) {
        kernels_.step_rows_backward(args, task, scratch.of(thread));
      });
    }
  }
}

}  // namespace monarch::attention::cpu
