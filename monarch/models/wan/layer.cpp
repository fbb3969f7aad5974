#include "monarch/models/wan/layer.h"

#include "monarch/models/wan/norms.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/ops/modulate.h"

namespace monarch::models {
namespace {

at::Tensor feed_forward(const LayerWeights& w, const at::Tensor& x) {
  at::Tensor hidden = w.ffn_in(x);
  if (ops::takes_gelu(hidden)) return w.ffn_out(ops::gelu_tanh(hidden));
  return w.ffn_out(at::GradMode::is_enabled() ? at::gelu(hidden, "tanh")
                                              : at::gelu_(hidden, "tanh"));
}

at::Tensor residual_add(at::Tensor x, const at::Tensor& y) {
  return at::GradMode::is_enabled() ? x + y : x.add_(y);
}

}  // namespace

at::Tensor run_layer(const LayerWeights& w, const WanConfig& config, at::Tensor x,
                     const at::Tensor& e0, const at::Tensor& rope, const CrossKv& cross,
                     const AttentionPattern& pattern) {
  // shift, scale, gate of the self-attention, then of the feed-forward; each [B, R, dim]
  const std::vector<at::Tensor> m = (like(w.modulation, x) + e0).unbind(2);
  x = gated_add(x, m[2],
                self_attention(w.self_attn, config, modulated_layer_norm(x, m[0], m[1], config.eps),
                               rope, pattern));
  const at::Tensor normed = w.norm3 ? at::layer_norm(x, {config.dim}, like(w.norm3->weight, x),
                                                     like(w.norm3->bias, x), config.eps)
                                    : x;
  x = residual_add(x, cross_attention(w.cross_attn, config, normed, cross));
  return gated_add(x, m[5], feed_forward(w, modulated_layer_norm(x, m[3], m[4], config.eps)));
}

at::Tensor run_head(const DitWeights& w, const WanConfig& config, const at::Tensor& x,
                    const at::Tensor& e) {
  const std::vector<at::Tensor> m = (like(w.head_modulation, x) + e.unsqueeze(2)).unbind(2);
  return w.head(modulated_layer_norm(x, m[0], m[1], config.eps));
}

}  // namespace monarch::models
