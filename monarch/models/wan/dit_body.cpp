#include "monarch/models/wan/dit_body.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/embeddings.h"
#include "monarch/models/wan/layer.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/rope.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {

at::Tensor model_input(const WanConfig& config, const DitInput& input) {
  token_grid(input.x, config.patch_size);
  const int64_t batch = input.x.size(0);
  MONARCH_CHECK(
      input.t.defined() && (input.t.dim() == 1 || input.t.dim() == 2) && input.t.size(0) == batch,
      "[monarch_models] t must be [", batch, "] or [", batch, ", timesteps]; got ",
      input.t.defined() ? shape_string(input.t.sizes()) : "nothing");
  MONARCH_CHECK(
      !input.context.defined() || input.context.size(0) == batch || input.context.size(0) == 1,
      "[monarch_models] context has a batch of ", input.context.size(0), ", x of ", batch);
  at::Tensor x = input.x;
  if (input.y.defined()) {
    MONARCH_CHECK(input.y.dim() == 5 && input.y.sizes().slice(2) == x.sizes().slice(2) &&
                      input.y.size(0) == batch,
                  "[monarch_models] y ", shape_string(input.y.sizes()), " must match x ",
                  shape_string(x.sizes()), " except in channels");
    x = at::cat({x, like(input.y, x)}, 1);
  }
  MONARCH_CHECK(
      x.size(1) == config.in_dim, "[monarch_models] the model takes ", config.in_dim,
      " latent channels; x", input.y.defined() ? " and y have " : " has ", x.size(1),
      config.image_to_video() && !input.y.defined() ? " (an i2v model also needs y)" : "");
  return x;
}

at::Tensor embed_input_context(const DitWeights& weights, const WanConfig& config,
                               const DitInput& input) {
  MONARCH_CHECK(input.context.defined(), "[monarch_models] a context (text embeddings) is needed");
  const at::Tensor& x = input.x;
  return embed_context(weights, config, like(input.context, x),
                       input.clip_fea.defined() ? like(input.clip_fea, x) : input.clip_fea)
      .expand({x.size(0), -1, -1});
}

at::Tensor run_body(const DitWeights& weights, const WanConfig& config, const at::Tensor& x,
                    const at::Tensor& t, int64_t start_frame, const CrossKeys& cross_keys,
                    const LayerPattern& pattern) {
  const ops::Grid grid = token_grid(x, config.patch_size);
  const TimeEmbedding time = embed_time(weights, config, t, x.scalar_type());
  const at::Tensor rope = rope_table(grid, start_frame, config.head_dim(), x.device());
  at::Tensor tokens = patch_embed(x, weights.patch_embedding.weight, weights.patch_embedding.bias,
                                  config.patch_size);
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    tokens = run_layer(weights.layers[i], config, tokens, time.e0, rope, cross_keys(i),
                       [&](const ops::Projections& p) { return pattern(i, p); });
  }
  return unpatchify(run_head(weights, config, tokens, time.e), grid, config.patch_size);
}

}  // namespace monarch::models
