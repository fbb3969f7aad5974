// Runs the iterations of Monarch factorisations (step.h) over the threads, forward and backward.
#pragma once

#include "monarch/attention/cpu/plan.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

// Sizes, scale and the parameters of g; without tensors, tables and arrays.
StepArgs step_shape(const VMonarchProblem& problem);
// Of so many query blocks side by side against so many key blocks.
StepArgs step_shape(const MonarchProblem& problem, std::int64_t q_blocks, std::int64_t kv_blocks);

// Tokens in the order of a layout, the tables of the kernels; `tokens` has room for them all.
template <typename Layout>
void fill_tokens(const Layout& layout, std::int64_t count, std::int64_t* tokens) {
  for (std::int64_t position = 0; position < count; ++position)
    tokens[position] = layout.token_of_position(position);
}

// Of the keys of all blocks, one block after the other, wherever they lie.
void fill_key_tokens(const MonarchProblem& problem, std::int64_t* tokens);

class Steps {
 public:
  enum class Direction { kForward, kBackward };

  // `shape` has sizes, scale and the parameters of g. `all_rows` counts the rows of a unit's key
  // gradients, of which shape.rows may be a part: then there is one iteration, and the backward
  // takes the softmax over the rows from the forward's out and lse. `whole_keys`: each row of keys
  // is seen once, by all its queries; where they fit a tile its gradients go straight to their
  // tensors.
  Steps(const Kernels& kernels, const StepArgs& shape, std::int64_t all_rows,
        std::int64_t num_iters, Direction direction, bool whole_keys = false);

  std::int64_t unit_floats() const { return unit_floats_; }     // arrays of a unit
  std::size_t thread_floats() const { return thread_floats_; }  // scratch of a thread
  std::int64_t tasks_of_unit() const { return tasks_of_unit_; }

  // `args` is the shape with tensors, tables and first_unit; `units` of them are worked on, their
  // arrays one after the other. Writes args.result.
  void forward(const ParallelLoop& loop, int num_threads, StepArgs args, std::int64_t units,
               float* arrays, const ScratchSpace& scratch) const;

  // Adds to dk and dv, of rows from first_row on, and to dq, or overwrites it if args.fresh.
  void backward(const ParallelLoop& loop, int num_threads, StepArgs args, std::int64_t units,
                std::int64_t first_row, float* arrays, const ScratchSpace& scratch) const;

  // Whether the backward writes args.grad_k and grad_v, and there is no dk and dv.
  bool stores_keys() const { return stores_keys_; }
  // Gradients in a unit's arrays: dq [I, P, D] with respect to s log2(e) Q; dk, dv [all rows, L,
  // D], one after the other.
  float* dq(float* arrays) const { return arrays + dq_; }
  float* dk(float* arrays) const { return arrays + dk_; }
  float* dv(float* arrays) const { return arrays + dv_; }

 private:
  void set_arrays(StepArgs& args, std::int64_t iteration, float* arrays) const;
  // Shares rows and columns of so many units among the threads.
  void cut(StepArgs& args, std::int64_t units, int num_threads) const;
  void run_rows(const ParallelLoop& loop, int num_threads, const StepArgs& args, std::int64_t units,
                const ScratchSpace& scratch) const;
  static void run_columns(const ParallelLoop& loop, int num_threads, const StepArgs& args,
                          std::int64_t units, const ScratchSpace& scratch,
                          void (*kernel)(const StepArgs&, std::int64_t, float*));

  const Kernels& kernels_;
  std::int64_t num_iters_;
  bool backward_;
  bool short_rows_ = false;
  bool keeps_log_r_ = false;
  bool stores_keys_ = false;
  bool packs_queries_ = false;
  std::int64_t row_tiles_ = 1;
  std::int64_t grid_ = 1;
  std::int64_t tasks_of_unit_ = 1;
  std::int64_t unit_floats_ = 0;
  std::size_t thread_floats_ = 0;
  // Offsets of the arrays. a_l to next_c_r exist once an iteration, each iteration's `iteration_`
  // after those of the one before.
  std::int64_t y_ = 0, da_r_ = 0, dc_r_ = 0, delta_ = 0, dq_ = 0, dk_ = 0, dv_ = 0;
  std::int64_t q_cols_ = 0, g_cols_ = 0, query_lse_ = 0, mean_ = 0;
  std::int64_t a_l_ = 0, c_l_ = 0, row_lse_ = 0, log_r_ = 0, next_a_r_ = 0, next_c_r_ = 0;
  std::int64_t iteration_ = 0;
};

}  // namespace monarch::attention::cpu
