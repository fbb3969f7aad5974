#include "apps/bench/einsum_monarch.h"

#include <ATen/ATen.h>

#include <cmath>

#include "monarch/attention/layout.h"

namespace monarch::apps {
namespace {

// Token of every position in block order.
at::Tensor tokens_of(const attention::BlockLayout& layout, std::int64_t count,
                     const at::Device& device) {
  at::Tensor tokens = at::empty({count}, at::kLong);
  for (std::int64_t position = 0; position < count; ++position)
    tokens.data_ptr<std::int64_t>()[position] = layout.token_of_position(position);
  return tokens.to(device);
}

}  // namespace

at::Tensor einsum_monarch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const ops::MonarchOptions& options, const ops::Grid& q_grid,
                          const ops::Grid& kv_grid) {
  const attention::BlockLayout layout{q_grid.height, q_grid.width, options.f_tied, options.h_reduce,
                                      options.w_reduce};
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  const at::Tensor q_tokens = tokens_of(layout, q_grid.tokens(), q.device());
  const at::Tensor kv_tokens = tokens_of(layout, kv_grid.tokens(), q.device());
  const auto blocks = [&](const at::Tensor& x, const at::Tensor& tokens) {
    return x.index_select(1, tokens).view(
        {x.size(0), -1, layout.block_rows(), layout.block_cols(), x.size(2), x.size(3)});
  };
  const at::Tensor queries = blocks(q, q_tokens);
  const at::Tensor keys = blocks(k, kv_tokens);
  const at::Tensor values = blocks(v, kv_tokens);

  const at::Tensor log_r =
      at::log_softmax(at::einsum("bakjhd,bfklhd->bhafkjl", {queries, keys}) * scale, -1);
  const at::Tensor r = log_r.exp();
  const at::Tensor c_l = (r * log_r).sum(-1).permute({0, 1, 2, 5, 3, 4}).unsqueeze(3);
  const at::Tensor a_l = at::einsum("bhafkjl,bfklhd->bhafkjd", {r, keys});
  const at::Tensor y = at::einsum("bhafkjl,bfklhd->bhafkjd", {r, values});
  const at::Tensor w = at::einsum("baijhd,bhafkjd->bhaijfk", {queries, a_l}) * scale - c_l;
  const at::Tensor l = at::softmax(w.flatten(-2), -1).view_as(w);
  const at::Tensor out = at::einsum("bhaijfk,bhafkjd->baijhd", {l, y});
  return out.reshape(q.sizes()).index_select(1, at::argsort(q_tokens));
}

}  // namespace monarch::apps
