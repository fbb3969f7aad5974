#include "monarch/models/wan/self_attention.h"

#include "monarch/models/wan/norms.h"
#include "monarch/models/wan/rope.h"
#include "monarch/ops/attention.h"

namespace monarch::models {

at::Tensor self_attention(const AttentionWeights& w, const WanConfig& config, const at::Tensor& x,
                          const at::Tensor& rope, const AttentionPattern& pattern) {
  const auto split = [&](const at::Tensor& t) {
    return t.unflatten(2, {config.num_heads, config.head_dim()});
  };
  const Qkv qkv{.q = apply_rope(split(rms_norm(w.q(x), w.norm_q, config.eps)), rope),
                .k = apply_rope(split(rms_norm(w.k(x), w.norm_k, config.eps)), rope),
                .v = split(w.v(x))};
  return w.o(pattern(qkv).flatten(2));
}

at::Tensor bidirectional_attention(const Qkv& qkv, const WanConfig& config, const ops::Grid& grid) {
  if (config.monarch.enable) {
    return ops::monarch_attention(qkv.q, qkv.k, qkv.v, config.monarch, grid, grid);
  }
  if (config.vmonarch) {
    return ops::vmonarch_attention(qkv.q, qkv.k, qkv.v, *config.vmonarch, grid);
  }
  return ops::dense_attention(qkv.q, qkv.k, qkv.v);
}

}  // namespace monarch::models
