// What the plans share: checks, inputs of a backward, loops over rows of workspace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/cpu/operand.h"
#include "monarch/base/parallel.h"

namespace monarch::attention::cpu {

// What a forward read and left behind; all tensors [B, N, H, D] of F32, BF16 or F16.
struct BackwardInputs {
  ConstTensorView q;
  ConstTensorView k;
  ConstTensorView v;
  ConstTensorView out;
  ConstTensorView grad_out;
  const float* lse = nullptr;  // [B, H, Nq], from the forward
};

struct Gradients {
  TensorView q;
  TensorView k;
  TensorView v;
};

// Throws kInvalidArgument for a problem that validate() refuses, kUnsupported for head_dim > 256.
template <typename Problem>
void check_plan(const Problem& problem, int num_threads) {
  validate(problem);
  check_threads(num_threads);
  check_head_dim(problem.head_dim);
}

void check_lse(const float* lse);

// Tokens keys of [B, N, H, D] and tokens of queries, as the kernels take them.
template <typename Args>
void set_inputs(Args& args, const BackwardInputs& inputs, std::int64_t batch, std::int64_t q_tokens,
                std::int64_t kv_tokens, std::int64_t num_heads, std::int64_t head_dim) {
  args.q = operand(inputs.q, "q", batch, q_tokens, num_heads, head_dim);
  args.k = operand(inputs.k, "k", batch, kv_tokens, num_heads, head_dim);
  args.v = operand(inputs.v, "v", batch, kv_tokens, num_heads, head_dim);
  args.out = operand(inputs.out, "out", batch, q_tokens, num_heads, head_dim);
  args.grad_out = operand(inputs.grad_out, "grad_out", batch, q_tokens, num_heads, head_dim);
}

// Cuts a workspace into arrays, each on a cache line. Without a workspace it only counts: the same
// code sizes a workspace and cuts it.
class WorkspaceCutter {
 public:
  WorkspaceCutter() = default;
  // Throws unless the workspace has so many bytes.
  WorkspaceCutter(std::span<std::byte> workspace, std::size_t bytes);

  template <typename T>
  T* take(std::int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }
  ScratchSpace take_scratch(std::size_t floats, int num_threads);
  std::size_t bytes() const { return used_ + kLine; }  // with room to align the first

 private:
  static constexpr std::size_t kLine = 64;
  void* take_bytes(std::size_t bytes);

  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
};

// Floats of a packed row; the kernels' packed_width.
constexpr std::int64_t row_floats(std::int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// Heads to work on at once where each gives `tasks` to a loop: enough for two tasks a thread, so
// that memory, which is linear in them, does not grow with their number.
constexpr std::int64_t heads_at_once(std::int64_t heads, std::int64_t tasks, int num_threads) {
  const std::int64_t wanted = (2 * std::int64_t{num_threads} + tasks - 1) / tasks;
  return wanted < heads ? wanted : heads;
}

void fill_zero(const ParallelLoop& loop, int num_threads, float* floats, std::int64_t count);

// Rows of `heads` heads from first_head on, `stride` floats apart, to a tensor.
struct StoreHeads {
  std::int64_t num_heads = 0;  // of the tensor
  std::int64_t first_head = 0;
  std::int64_t heads = 0;
  std::int64_t stride = 0;
  std::int64_t count = 0;  // rows a head
};
void store_heads(const Kernels& kernels, const ParallelLoop& loop, int num_threads,
                 const StoreHeads& what, StoreRowsArgs args);

}  // namespace monarch::attention::cpu
