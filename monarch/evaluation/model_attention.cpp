#include "monarch/evaluation/model_attention.h"

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/models/wan/dit_body.h"
#include "monarch/ops/attention.h"

namespace monarch::evaluation {

at::Tensor flow_with_attention(const models::WanDit& model, const models::DitInput& input,
                               const LayerAttention& attention) {
  const models::WanConfig& config = model.config();
  const models::DitWeights& weights = model.weights();
  const at::Tensor x = models::model_input(config, input);
  const at::Tensor t = input.t.dim() == 1 ? input.t.unsqueeze(1) : input.t;
  return models::run_body(
      weights, config,
      {.x = x,
       .t = t,
       .context = [&] { return models::embed_input_context(weights, config, input); },
       .attend =
           [attention](std::size_t layer, const ops::Projections& projections) {
             return attention(layer, models::rotated(projections));
           }});
}

LayerAttention capturing_attention(const ops::Grid& grid, std::vector<AttentionHead>& heads,
                                   std::function<bool()> wanted) {
  return [grid, &heads, wanted = std::move(wanted)](std::size_t layer, const models::Qkv& qkv) {
    for (std::int64_t h = 0; h < qkv.q.size(2); ++h) {
      if (wanted && !wanted()) continue;
      const auto one = [h](const at::Tensor& t) { return t.narrow(0, 0, 1).narrow(2, h, 1); };
      heads.push_back(heads_of(one(qkv.q), one(qkv.k), one(qkv.v), grid).front());
      heads.back().layer = layer;
    }
    return ops::dense_attention(qkv.q, qkv.k, qkv.v);
  };
}

LayerAttention attention_by(const AttentionMethod& method, const ops::Grid& grid) {
  return [method, grid](std::size_t, const models::Qkv& qkv) {
    if (method.attend) return method.attend(qkv.q, qkv.k, qkv.v, grid);
    std::vector<at::Tensor> outputs;
    for (const AttentionHead& head : heads_of(qkv.q, qkv.k, qkv.v, grid))
      outputs.push_back(attention_output(head, method.approximate(head)));
    return at::stack(outputs)  // [B*H, N, D] -> [B, N, H, D]
        .view({qkv.q.size(0), qkv.q.size(2), qkv.q.size(1), qkv.v.size(3)})
        .transpose(1, 2)
        .to(qkv.q.scalar_type());
  };
}

std::vector<AttentionHead> heads_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const ops::Grid& grid) {
  const auto batched = [&](const char* name, const at::Tensor& t) {
    MONARCH_CHECK(t.dim() == 3 || t.dim() == 4, "[monarch_evaluation] ", name, " has shape ",
                  shape_string(t.sizes()),
                  "; [batch, tokens, heads, head_dim] or [tokens, heads, head_dim] was expected");
    return (t.dim() == 3 ? t.unsqueeze(0) : t).to(at::kFloat);
  };
  const at::Tensor queries = batched("q", q), keys = batched("k", k), values = batched("v", v);
  MONARCH_CHECK(
      queries.sizes() == keys.sizes() && queries.sizes().slice(0, 3) == values.sizes().slice(0, 3),
      "[monarch_evaluation] q ", shape_string(q.sizes()), ", k ", shape_string(k.sizes()),
      " and v ", shape_string(v.sizes()),
      " do not agree; whole videos are compared, so all have the same tokens and heads");
  std::vector<AttentionHead> heads;
  for (std::int64_t b = 0; b < queries.size(0); ++b) {
    for (std::int64_t h = 0; h < queries.size(2); ++h) {
      // A copy: a view would keep all heads alive.
      const auto head = [&](const at::Tensor& t) {
        return t[b].select(1, h).clone(at::MemoryFormat::Contiguous);
      };
      heads.push_back({.q = head(queries),
                       .k = head(keys),
                       .v = head(values),
                       .grid = grid,
                       .scale = 1 / std::sqrt(static_cast<double>(queries.size(3)))});
      heads.back().validate();
    }
  }
  MONARCH_CHECK(!heads.empty(), "[monarch_evaluation] q ", shape_string(q.sizes()),
                " holds no heads");
  return heads;
}

}  // namespace monarch::evaluation
