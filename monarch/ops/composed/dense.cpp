#include "monarch/ops/composed/attention.h"

namespace monarch::ops::composed {
namespace {

// [B, N, H, D] operands; `mask` is undefined or [query tokens, key tokens], true = visible.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const std::optional<at::Tensor>& mask, double scale) {
  // Torch wants [B, H, N, D]: views, its kernels take strides.
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          mask, /*dropout_p=*/0.0, /*is_causal=*/false, scale)
      .transpose(1, 2);
}

}  // namespace

at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           double scale) {
  return attend(q, k, v, {}, scale);
}

at::Tensor dense_attention_run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
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

at::Tensor dense_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, int64_t block_tokens, double scale) {
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < q.size(1); begin += block_tokens) {
    const int64_t end = std::min(begin + block_tokens, q.size(1));
    pieces.push_back(
        attend(q.slice(1, begin, end), k.slice(1, 0, end), v.slice(1, 0, end), {}, scale));
  }
  return at::cat(pieces, 1);
}

}  // namespace monarch::ops::composed
