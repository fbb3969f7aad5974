// The first stage's backward in its three uses, and the tiles of its kernels.
#pragma once

#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/step_gradient_args.h"

namespace monarch::attention::cuda::sm80 {

// The last iteration, with Y; those before it; the first frame's dense attention.
enum class GradientKind { kLast, kEarlier, kDense };

inline constexpr int kKeyTile = 128;      // keys of a thread block that owns theirs
inline constexpr int kGradientRows = 32;  // queries that pass through it at a time

constexpr int query_gradient_shared_bytes(int padded_head_dim, GradientKind kind) {
  const int operands = kind == GradientKind::kEarlier ? 1 : 2;  // K, V
  return 2 * operands * kFlashKeys * static_cast<int>(row_pitch(padded_head_dim));
}
constexpr int key_gradient_shared_bytes(int padded_head_dim, GradientKind kind) {
  const int operands = kind == GradientKind::kLast ? 3 : 2;  // a_R, d a_L and dY
  return 2 * operands * kGradientRows * static_cast<int>(row_pitch(padded_head_dim));
}
constexpr int step_gradient_shared_bytes(int padded_head_dim) {  // the most of any
  return query_gradient_shared_bytes(padded_head_dim, GradientKind::kLast);
}

constexpr std::int64_t query_gradient_blocks(const StepArgs& args, GradientKind kind) {
  const bool dense = kind == GradientKind::kDense;
  const int queries = dense ? args.recomputed_tokens : args.cols;
  return std::int64_t{args.heads} * (dense ? 1 : args.q_blocks * args.queries) *
         ((queries + kFlashQueries - 1) / kFlashQueries);
}
constexpr std::int64_t key_gradient_blocks(const StepArgs& args, GradientKind kind) {
  const bool dense = kind == GradientKind::kDense;
  const int keys = dense ? args.kv_tokens : args.cols;
  return std::int64_t{args.heads} * (dense ? 1 : args.rows) * ((keys + kKeyTile - 1) / kKeyTile);
}

}  // namespace monarch::attention::cuda::sm80
