#include "monarch/models/wan/cross_attention.h"

#include "monarch/ops/attention.h"
#include "monarch/ops/norm_rope.h"

namespace monarch::models {

CrossKv cross_keys(const AttentionWeights& w, const WanConfig& config, const at::Tensor& context) {
  const auto split = [&](const at::Tensor& t) {
    return t.unflatten(2, {config.num_heads, config.head_dim()});
  };
  CrossKv kv;
  at::Tensor text = context;
  if (config.image_to_video()) {
    const at::Tensor image = context.narrow(1, 0, kImageTokens);
    text = context.narrow(1, kImageTokens, context.size(1) - kImageTokens);
    kv.k_img = ops::norm_rope(split(w.k_img(image)), w.norm_k_img, {}, config.eps);
    kv.v_img = split(w.v_img(image));
  }
  kv.k = ops::norm_rope(split(w.k(text)), w.norm_k, {}, config.eps);
  kv.v = split(w.v(text));
  return kv;
}

at::Tensor cross_attention(const AttentionWeights& w, const WanConfig& config, const at::Tensor& x,
                           const CrossKv& kv) {
  const at::Tensor q = ops::norm_rope(w.q(x).unflatten(2, {config.num_heads, config.head_dim()}),
                                      w.norm_q, {}, config.eps);
  at::Tensor out = ops::cross_attention(q, kv.k, kv.v);
  if (kv.k_img.defined()) out = out + ops::cross_attention(q, kv.k_img, kv.v_img);
  return w.o(out.flatten(2));
}

}  // namespace monarch::models
