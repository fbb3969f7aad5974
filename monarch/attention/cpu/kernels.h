// The kernels as plain structs and function pointers: what the launch code hands to sources
// compiled per instruction set.
//
// A task is one query block of one head (or a group of its columns); tasks are independent and
// write disjoint outputs, so results do not depend on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "monarch/attention/cpu/operand_types.h"
#include "monarch/attention/cpu/step.h"
#include "monarch/attention/layout.h"

namespace monarch::attention::cpu {

struct MonarchForwardArgs {
  Operand q;
  Operand k;
  Operand v;
  Result out;
  float* lse =
      nullptr;  // [B, H, Nq] log Σ exp of each query's scores (natural, contiguous), or null
  BlockLayout layout;
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t num_q_blocks = 0;
  std::int64_t num_kv_blocks = 0;
  std::int64_t causal_group = 0;  // key blocks a causal block holds; 0: bidirectional
  bool kv_block_order = false;
  float scale_log2 = 0;  // softmax scale times log2(e)
  // Tasks that the columns of the query blocks which see the same keys (all, or those of a causal
  // block) are cut into.
  std::int64_t column_groups = 1;
};

struct DenseForwardArgs {
  Operand q;
  Operand k;
  Operand v;
  Result out;
  float* lse = nullptr;  // [B, H, lse_stride] natural, or null
  std::int64_t lse_stride = 0;
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t q_tokens = 0;
  std::int64_t kv_tokens = 0;
  std::int64_t num_groups = 1;  // causal blocks; 1: every key is visible
  std::int64_t tiles_per_group = 1;
  float scale_log2 = 0;  // softmax scale times log2(e)
};

// Gradients are summed in float over all keys (dQ) and all queries (dK, dV) of a head, in arrays of
// whole packed rows; store_rows() takes them to the tensors.
struct DenseBackwardArgs {
  Operand q;
  Operand k;
  Operand v;
  Operand out;  // of the forward
  Operand grad_out;
  const float* lse = nullptr;  // [B, H, lse_stride] of the forward
  std::int64_t lse_stride = 0;
  const std::int64_t* k_tokens = nullptr;  // [Nkv] token of a key and row of dk, dv; null: itself
  const std::int64_t* dq_rows = nullptr;   // [Nq] row of dq of a query; null: itself
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t q_tokens = 0;
  std::int64_t kv_tokens = 0;
  std::int64_t num_groups = 1;       // causal blocks; 1: every key is visible
  std::int64_t tiles_per_group = 1;  // of query_tile queries
  std::int64_t query_tile = 1;
  std::int64_t grid = 1;         // groups that queries and keys are each cut into
  std::int64_t step = 0;         // < grid
  std::int64_t first_head = 0;   // of all batches
  float scale_log2 = 0;          // softmax scale times log2(e)
  float* dq = nullptr;           // [Nq, packed D] of the first head, by dq_rows; without the scale
  float* dk = nullptr;           // [Nkv, packed D]
  float* dv = nullptr;           // [Nkv, packed D]
  std::int64_t unit_stride = 0;  // floats from a head's arrays to the next head's
};

struct StoreRowsArgs {
  const float* rows = nullptr;           // [count, packed D]
  const std::int64_t* tokens = nullptr;  // [count]; null: row n is token n
  Result to;
  std::int64_t offset = 0;  // of the head
  std::int64_t head_dim = 0;
  float scale = 1;
};

inline constexpr std::int64_t kVMonarchColumns = 16;  // columns j a task takes

// One head at a time: what passes between the loops lies in shared scratch, in the order of the
// split.
struct VMonarchForwardArgs {
  Operand q;
  Operand k;
  Operand v;
  Result out;
  SplitLayout layout;
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t head_dim = 0;
  std::int64_t row_tiles = 1;  // tasks a row k is cut into
  float scale_log2 = 0;
  float c_r_min = 0;
  bool first_iteration = false;
  bool last_iteration = false;
  float* a_l = nullptr;            // [m P, packed D]
  float* y = nullptr;              // [m P, packed D]
  float* a_r = nullptr;            // [m P, packed D]  s log2(e) aR / max(cR, c_r_min)
  float* minus_entropy = nullptr;  // [m P]            base 2
};

inline constexpr std::int64_t kMaxNormChannels = 8192;  // of a token: two such rows on the stack

// The channels H D of a token lie in one row of x, out and the gradients.
struct NormRopeArgs {
  Operand x;
  Result out;
  const float* weight = nullptr;  // [H D]; null: no norm
  const float* rope = nullptr;    // [N, D] cos and sin of each pair; null: no rotation
  float* inverse_rms = nullptr;   // [B, N], or null
  std::int64_t tokens = 0;        // N
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
  float eps = 0;
};

struct NormRopeBackwardArgs {
  Operand x;
  Operand grad_out;
  Result grad_x;
  const float* weight = nullptr;
  const float* rope = nullptr;
  const float* inverse_rms = nullptr;
  std::int64_t tokens = 0;
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
};

// Everything compiled per instruction set; null where one has no kernel for an operator.
struct Kernels {
  // Floats of scratch a thread needs.
  std::size_t (*monarch_forward_workspace)(const MonarchForwardArgs& args);
  // task < batch * num_heads * causal blocks * column_groups; workspace aligned to 64 bytes.
  void (*monarch_forward)(const MonarchForwardArgs& args, std::int64_t task, float* workspace);

  std::size_t (*vmonarch_forward_workspace)(const VMonarchForwardArgs& args);  // floats a thread
  std::size_t (*vmonarch_forward_shared)(const VMonarchForwardArgs& args);     // floats in common
  std::int64_t (*vmonarch_row_tile)();  // most rows (k, j) a task takes
  void (*vmonarch_rows)(const VMonarchForwardArgs& args, std::int64_t task, float* workspace);
  void (*vmonarch_columns)(const VMonarchForwardArgs& args, std::int64_t task, float* workspace);

  std::size_t (*dense_forward_workspace)(const DenseForwardArgs& args);
  std::int64_t (*dense_query_tile)();  // most queries a task takes
  // task < batch * num_heads * num_groups * tiles_per_group
  void (*dense_forward)(const DenseForwardArgs& args, std::int64_t task, float* workspace);

  std::size_t (*dense_backward_workspace)(const DenseBackwardArgs& args);  // floats a thread
  std::int64_t (*gradient_query_tile)();                                   // most queries a tile
  // task < heads * grid; one step after the other
  void (*dense_backward)(const DenseBackwardArgs& args, std::int64_t task, float* workspace);
  void (*store_rows)(const StoreRowsArgs& args, std::int64_t first, std::int64_t last);

  std::size_t (*step_workspace)(const StepArgs& args, bool backward);  // floats a thread
  std::int64_t (*step_row_tile)();                 // most queries of a row a task takes
  std::int64_t (*step_key_tile)();                 // most columns for log_r
  std::int64_t (*step_padded)(std::int64_t cols);  // padded P of log_r
  // task < units * I * row_tiles, units * runs of columns, units * I * grid, units * runs
  void (*step_rows)(const StepArgs& args, std::int64_t task, float* workspace);
  void (*step_columns)(const StepArgs& args, std::int64_t task, float* workspace);
  void (*step_rows_backward)(const StepArgs& args, std::int64_t task, float* workspace);
  void (*step_columns_backward)(const StepArgs& args, std::int64_t task, float* workspace);

  // `count` tokens of a sample from `token` on, to out's tokens from `out_token` on.
  void (*norm_rope)(const NormRopeArgs& args, std::int64_t batch, std::int64_t token,
                    std::int64_t out_token, std::int64_t count);
  // Adds to grad_weight [H D].
  void (*norm_rope_backward)(const NormRopeBackwardArgs& args, std::int64_t batch,
                             std::int64_t token, std::int64_t count, float* grad_weight);
};

namespace generic {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx512_bf16 {
extern const Kernels kKernels;
}
namespace amx {
extern const Kernels kKernels;
}

}  // namespace monarch::attention::cpu
