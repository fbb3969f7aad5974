// Checks the operands, says what the problem is, and lets the kernels run it or, where they cannot,
// Torch's operators.
#include "monarch/ops/attention.h"

#include <cstdlib>

#include "monarch/base/divisors.h"
#include "monarch/ops/checks.h"
#include "monarch/ops/composed/attention.h"
#include "monarch/ops/kernels.h"
#include "monarch/ops/usage.h"

namespace monarch::ops {
namespace {

using attention::DenseProblem;
using attention::MonarchProblem;
using attention::Problem;
using attention::VMonarchProblem;

thread_local bool only_composed = false;

template <typename Composed>
at::Tensor attend(const std::string& label, const Problem& problem, const at::Tensor& q,
                  const at::Tensor& k, const at::Tensor& v, const Composed& composed) {
  const bool gradients =
      at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  std::string refusal = forced_refusal();
  if (refusal.empty()) refusal = kernels_refusal(problem, q, gradients);
  if (refusal.empty()) return kernel_attention(problem, q, k, v, label);
  count_attention(label, "forward", "composed", refusal, map_size(problem));
  return composed();
}

at::Tensor attend_dense(const char* label, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, double scale) {
  const DenseProblem problem{.batch = q.size(0),
                             .num_heads = q.size(2),
                             .head_dim = q.size(3),
                             .q_tokens = q.size(1),
                             .kv_tokens = k.size(1),
                             .softmax_scale = scale};
  return attend(label, problem, q, k, v, [&] { return composed::dense_attention(q, k, v, scale); });
}

at::Tensor attend_run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const QueryRun& run, double scale) {
  if (run.sees_self && (run.query_begin < run.key_begin || run.query_end > run.key_end)) {
    const std::int64_t numbers =
        q.size(0) * q.size(2) * (run.query_end - run.query_begin) * (run.key_end - run.key_begin);
    count_attention("dense", "forward", "composed",
                    "queries see themselves outside the keys they share", {numbers, numbers});
    return composed::dense_attention_run(q, k, v, run, scale);
  }
  return attend_dense("dense", q.slice(1, run.query_begin, run.query_end),
                      k.slice(1, run.key_begin, run.key_end),
                      v.slice(1, run.key_begin, run.key_end), scale);
}

// The size of the blocks if `runs` are those of block-causal attention, else 0.
int64_t block_causal_size(const std::vector<QueryRun>& runs) {
  if (runs.size() < 2) return 0;
  const int64_t size = runs[0].query_end;
  for (size_t i = 0; i < runs.size(); ++i) {
    const int64_t end = static_cast<int64_t>(i + 1) * size;
    if (runs[i].query_end != end || runs[i].key_begin != 0 || runs[i].key_end != end) return 0;
  }
  return size;
}

// `block_causal_size` divides the tokens.
at::Tensor attend_block_causal(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               int64_t block_causal_size, double scale) {
  const DenseProblem problem{.batch = q.size(0),
                             .num_heads = q.size(2),
                             .head_dim = q.size(3),
                             .q_tokens = q.size(1),
                             .kv_tokens = k.size(1),
                             .softmax_scale = scale,
                             .block_causal_size = block_causal_size};
  return attend("dense", problem, q, k, v, [&] {
    return composed::dense_attention_block_causal(q, k, v, block_causal_size, scale);
  });
}

MonarchProblem monarch_problem(const at::Tensor& q, const MonarchOptions& options,
                               const Grid& q_grid, const Grid& kv_grid, double scale) {
  return {.batch = q.size(0),
          .num_heads = q.size(2),
          .head_dim = q.size(3),
          .q_frames = q_grid.frames,
          .kv_frames = kv_grid.frames,
          .height = q_grid.height,
          .width = q_grid.width,
          .f_tied = options.f_tied,
          .h_reduce = options.h_reduce,
          .w_reduce = options.w_reduce,
          .num_iters = options.num_iters,
          .softmax_scale = scale};
}

void check_grid(const char* op, const char* what, const at::Tensor& t, const Grid& grid,
                const MonarchOptions& options) {
  MONARCH_CHECK(t.size(1) == grid.tokens(), "[monarch_ops] ", op, " needs ", grid.tokens(), ' ',
                what, " for the grid ", grid.frames, "x", grid.height, "x", grid.width, "; got ",
                t.size(1));
  blocks_of(grid, options);  // divisibility
}

void check_monarch(const char* op, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const MonarchOptions& options, const Grid& q_grid, const Grid& kv_grid) {
  check_qkv(op, q, k, v);
  MONARCH_CHECK(options.num_iters >= 1, "[monarch_ops] num_iters must be at least 1, but is ",
                options.num_iters);
  MONARCH_CHECK(q_grid.height == kv_grid.height && q_grid.width == kv_grid.width, "[monarch_ops] ",
                op, ": queries come from frames of ", q_grid.height, "x", q_grid.width,
                " tokens, keys from ", kv_grid.height, "x", kv_grid.width);
  check_grid(op, "queries", q, q_grid, options);
  check_grid(op, "keys", k, kv_grid, options);
}

}  // namespace

std::string forced_refusal() {
  if (only_composed) return "a ComposedAttentionGuard asks for it";
  const char* wanted = std::getenv("MONARCH_ATTENTION");
  if (wanted == nullptr || *wanted == '\0' || std::string_view(wanted) == "kernels") return "";
  MONARCH_CHECK(std::string_view(wanted) == "composed", "[monarch_ops] MONARCH_ATTENTION is '",
                wanted, "'; use kernels (the default) or composed");
  return "MONARCH_ATTENTION=composed";
}

ComposedAttentionGuard::ComposedAttentionGuard() : before_(only_composed) { only_composed = true; }
ComposedAttentionGuard::~ComposedAttentionGuard() { only_composed = before_; }

at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           std::optional<double> softmax_scale) {
  check_qkv("dense_attention", q, k, v);
  return attend_dense("dense", q, k, v, scale_or_default(softmax_scale, q.size(3)));
}

at::Tensor cross_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  check_qkv("cross_attention", q, k, v);
  return attend_dense("cross", q, k, v, scale_or_default({}, q.size(3)));
}

at::Tensor dense_attention_runs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const std::vector<QueryRun>& runs,
                                std::optional<double> softmax_scale) {
  check_qkv("dense_attention_runs", q, k, v);
  int64_t next = 0;
  for (const QueryRun& run : runs) {
    MONARCH_CHECK(run.query_begin == next && run.query_end > next && run.query_end <= q.size(1),
                  "[monarch_ops] dense_attention_runs: queries ", run.query_begin, "..",
                  run.query_end, " do not continue at ", next, " of ", q.size(1));
    MONARCH_CHECK(run.key_begin >= 0 && run.key_begin <= run.key_end && run.key_end <= k.size(1) &&
                      (run.key_begin < run.key_end || run.sees_self),
                  "[monarch_ops] dense_attention_runs: keys ", run.key_begin, "..", run.key_end,
                  " do not lie in 0..", k.size(1));
    next = run.query_end;
  }
  MONARCH_CHECK(next == q.size(1), "[monarch_ops] dense_attention_runs covers ", next, " of ",
                q.size(1), " queries");
  const double scale = scale_or_default(softmax_scale, q.size(3));
  const int64_t size = block_causal_size(runs);
  if (size > 0 && k.size(1) == q.size(1)) return attend_block_causal(q, k, v, size, scale);
  std::vector<at::Tensor> pieces;
  pieces.reserve(runs.size());
  for (const QueryRun& run : runs) pieces.push_back(attend_run(q, k, v, run, scale));
  return pieces.size() == 1 ? pieces.front() : at::cat(pieces, 1);
}

at::Tensor dense_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, int64_t block_tokens,
                                        std::optional<double> softmax_scale) {
  MONARCH_CHECK(block_tokens >= 1, "[monarch_ops] block_causal_size must be at least 1, but is ",
                block_tokens);
  check_qkv("dense_attention_block_causal", q, k, v);
  MONARCH_CHECK(q.size(1) == k.size(1), "[monarch_ops] dense_attention_block_causal needs as many ",
                "queries as keys; got ", q.size(1), " and ", k.size(1));
  std::vector<QueryRun> runs;
  for (int64_t begin = 0; begin < q.size(1); begin += block_tokens) {
    const int64_t end = std::min(begin + block_tokens, q.size(1));
    runs.push_back({.query_begin = begin, .query_end = end, .key_begin = 0, .key_end = end});
  }
  return dense_attention_runs(q, k, v, runs, softmax_scale);
}

at::Tensor monarch_attention_blocks(const at::Tensor& q, const at::Tensor& k_blocks,
                                    const at::Tensor& v_blocks, const MonarchOptions& options,
                                    const Grid& q_grid, const Grid& kv_grid,
                                    std::optional<double> softmax_scale) {
  check_monarch("monarch_attention", q, k_blocks, v_blocks, options, q_grid, kv_grid);
  const double scale = scale_or_default(softmax_scale, q.size(3));
  MonarchProblem problem = monarch_problem(q, options, q_grid, kv_grid, scale);
  problem.kv_block_order = true;
  return attend("monarchrt", problem, q, k_blocks, v_blocks, [&] {
    return composed::monarch_attention_blocks(q, k_blocks, v_blocks, options, q_grid, kv_grid,
                                              scale);
  });
}

at::Tensor monarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const MonarchOptions& options, const Grid& q_grid, const Grid& kv_grid,
                             std::optional<double> softmax_scale) {
  check_monarch("monarch_attention", q, k, v, options, q_grid, kv_grid);
  const double scale = scale_or_default(softmax_scale, q.size(3));
  return attend("monarchrt", monarch_problem(q, options, q_grid, kv_grid, scale), q, k, v, [&] {
    return composed::monarch_attention(q, k, v, options, q_grid, kv_grid, scale);
  });
}

at::Tensor monarch_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, const MonarchOptions& options,
                                          const Grid& grid, int64_t block_tokens,
                                          std::optional<double> softmax_scale) {
  check_monarch("monarch_attention_block_causal", q, k, v, options, grid, grid);
  MONARCH_CHECK(options.num_iters == 1,
                "[monarch_ops] block-causal Monarch attention has one iteration; num_iters is ",
                options.num_iters);
  const Blocks blocks = blocks_of(grid, options);
  MONARCH_CHECK(block_tokens >= 1 && block_tokens % blocks.block_tokens() == 0 &&
                    grid.tokens() % block_tokens == 0,
                "[monarch_ops] block_causal_size ", block_tokens, " must be a multiple of the ",
                blocks.block_tokens(), " tokens of a tile and divide the ", grid.tokens(),
                " tokens of the video");
  const double scale = scale_or_default(softmax_scale, q.size(3));
  MonarchProblem problem = monarch_problem(q, options, grid, grid, scale);
  problem.block_causal_size = block_tokens;
  return attend("monarchrt", problem, q, k, v, [&] {
    return composed::monarch_attention_block_causal(q, k, v, options, grid, block_tokens, scale);
  });
}

at::Tensor vmonarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const VMonarchOptions& options, const Grid& grid,
                              std::optional<double> softmax_scale) {
  check_qkv("vmonarch_attention", q, k, v);
  MONARCH_CHECK(options.num_iters >= 1, "[monarch_ops] num_iters must be at least 1, but is ",
                options.num_iters);
  MONARCH_CHECK(q.size(1) == grid.tokens() && k.size(1) == grid.tokens(),
                "[monarch_ops] vmonarch_attention needs ", grid.tokens(),
                " queries and keys for the grid ", grid.frames, "x", grid.height, "x", grid.width,
                "; got ", q.size(1), " and ", k.size(1));
  check_divides("[monarch_ops] ", "frame count", grid.frames, "frames_per_factor",
                options.frames_per_factor);
  const double scale = scale_or_default(softmax_scale, q.size(3));
  const VMonarchProblem problem{.batch = q.size(0),
                                .num_heads = q.size(2),
                                .head_dim = q.size(3),
                                .frames = grid.frames,
                                .height = grid.height,
                                .width = grid.width,
                                .num_iters = options.num_iters,
                                .softmax_scale = scale,
                                .c_r_min = options.c_r_min,
                                .recompute_first_frame = options.recompute_first_frame,
                                .frames_per_factor = options.frames_per_factor,
                                .split = options.split};
  attention::validate(problem);
  return attend("vmonarch", problem, q, k, v,
                [&] { return composed::vmonarch_attention(q, k, v, options, grid, scale); });
}

}  // namespace monarch::ops
