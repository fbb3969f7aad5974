#include "monarch/ops/attention.h"
#include "monarch/ops/checks.h"

namespace monarch::ops {
namespace {

// [B, N, H, D] operands; `mask` is undefined or [query tokens, key tokens], true = visible.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const std::optional<at::Tensor>& mask, double scale) {
  // Torch wants [B, H, N, D]: views, its kernels take strides.
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          mask, /*dropout_p=*/0.0, /*is_causal=*/false, scale)
      .transpose(1, 2);
}

at::Tensor attend_run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const QueryRun& run, double scale) {
  const at::Tensor queries = q.slice(1, run.query_begin, run.query_end);
  const bool selves_hidden =
      run.sees_self && (run.query_begin < run.key_begin || run.query_end > run.key_end);
  const int64_t key_begin =
      selves_hidden ? std::min(run.key_begin, run.query_begin) : run.key_begin;
  const int64_t key_end = selves_hidden ? std::max(run.key_end, run.query_end) : run.key_end;
  const at::Tensor keys = k.slice(1, key_begin, key_end);
  const at::Tensor values = v.slice(1, key_begin, key_end);
  std::optional<at::Tensor> mask;
  if (selves_hidden) {
    const auto indices = q.options().dtype(at::kLong).requires_grad(false);
    const at::Tensor key = at::arange(key_begin, key_end, indices).unsqueeze(0);
    const at::Tensor query = at::arange(run.query_begin, run.query_end, indices).unsqueeze(1);
    mask = (key.ge(run.key_begin).logical_and(key.lt(run.key_end))).logical_or(key.eq(query));
  }
  return attend(queries, keys, values, mask, scale);
}

}  // namespace

at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           std::optional<double> softmax_scale) {
  check_qkv("dense_attention", q, k, v);
  return attend(q, k, v, {}, scale_or_default(softmax_scale, q.size(3)));
}

at::Tensor dense_attention_runs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const std::vector<QueryRun>& runs,
                                std::optional<double> softmax_scale) {
  check_qkv("dense_attention_runs", q, k, v);
  const double scale = scale_or_default(softmax_scale, q.size(3));
  std::vector<at::Tensor> pieces;
  pieces.reserve(runs.size());
  int64_t next = 0;
  for (const QueryRun& run : runs) {
    MONARCH_CHECK(run.query_begin == next && run.query_end > next && run.query_end <= q.size(1),
                  "[monarch_ops] dense_attention_runs: queries ", run.query_begin, "..",
                  run.query_end, " do not continue at ", next, " of ", q.size(1));
    MONARCH_CHECK(run.key_begin >= 0 && run.key_begin <= run.key_end && run.key_end <= k.size(1) &&
                      (run.key_begin < run.key_end || run.sees_self),
                  "[monarch_ops] dense_attention_runs: keys ", run.key_begin, "..", run.key_end,
                  " do not lie in 0..", k.size(1));
    pieces.push_back(attend_run(q, k, v, run, scale));
    next = run.query_end;
  }
  MONARCH_CHECK(next == q.size(1), "[monarch_ops] dense_attention_runs covers ", next, " of ",
                q.size(1), " queries");
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

}  // namespace monarch::ops
