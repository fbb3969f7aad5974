#include "monarch/models/wan/self_attention.h"

#include "monarch/ops/attention.h"

namespace monarch::models {

at::Tensor self_attention(const AttentionWeights& w, const WanConfig& config, const at::Tensor& x,
                          const at::Tensor& rope, const AttentionPattern& pattern) {
  const auto split = [&](const at::Tensor& t) {
    return t.unflatten(2, {config.num_heads, config.head_dim()});
  };
  return w.o(pattern({.q = split(w.q(x)),
                      .k = split(w.k(x)),
                      .v = split(w.v(x)),
                      .norm_q = w.norm_q,
                      .norm_k = w.norm_k,
                      .rope = rope,
                      .eps = config.eps})
                 .flatten(2));
}

Qkv rotated(const ops::Projections& p) { return {p.rotated_q(), p.rotated_k(), p.v}; }

at::Tensor attend_heads(const Qkv& qkv, const std::vector<HeadGroup>& groups,
                        const std::function<at::Tensor(const Qkv&, const HeadAttention&)>& attend) {
  if (groups.size() == 1) return attend(qkv, groups.front().attention);
  std::vector<at::Tensor> parts;
  for (const HeadGroup& group : groups) {
    const auto heads = [&](const at::Tensor& t) { return t.narrow(2, group.first, group.count); };
    parts.push_back(attend({heads(qkv.q), heads(qkv.k), heads(qkv.v)}, group.attention));
  }
  return at::cat(parts, 2);
}

at::Tensor bidirectional_attention(const Qkv& all, const std::vector<HeadGroup>& groups,
                                   const ops::Grid& grid) {
  return attend_heads(all, groups, [&](const Qkv& qkv, const HeadAttention& attention) {
    switch (attention.kind) {
      case AttentionKind::kMonarch:
        return ops::monarch_attention(qkv.q, qkv.k, qkv.v, attention.monarch, grid, grid);
      case AttentionKind::kVMonarch:
        return ops::vmonarch_attention(qkv.q, qkv.k, qkv.v, attention.vmonarch, grid);
      case AttentionKind::kDense: break;
    }
    return ops::dense_attention(qkv.q, qkv.k, qkv.v);
  });
}

}  // namespace monarch::models
