#include "monarch/models/wan/dit_body.h"

#include <memory>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/embeddings.h"
#include "monarch/models/wan/layer.h"
#include "monarch/models/wan/layer_source.h"
#include "monarch/models/wan/network_part.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/rope.h"
#include "monarch/models/wan/sequence.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

// Cross-attention keys of a pass; the context is embedded when it is first needed.
class ContextKeys {
 public:
  ContextKeys(const WanConfig& config, const BodyPass& pass) : config_(config), pass_(pass) {}

  const at::Tensor& context() {
    if (!context_.defined()) context_ = pass_.context();
    return context_;
  }

  CrossKv of(size_t layer, const AttentionWeights& weights) {
    if (!pass_.kept_keys || at::GradMode::is_enabled())
      return cross_keys(weights, config_, context());
    CrossKv& kept = pass_.kept_keys(layer);
    if (!kept.k.defined()) kept = cross_keys(weights, config_, context());
    return kept;
  }

 private:
  const WanConfig& config_;
  const BodyPass& pass_;
  at::Tensor context_;
};

struct LayerInputs {
  at::Tensor tokens, e0, context, rope;
};

// A layer whose activations, or whose weights, are not kept for the backward pass.
at::Tensor layer_part(const DitWeights& weights, const WanConfig& config, const BodyPass& pass,
                      const Strips& strips, size_t index, const LayerInputs& given) {
  const std::shared_ptr<LayerSource> source = weights.source;
  const std::shared_ptr<HeldLayer> held =
      source && !config.recompute_layers ? source->hold(index) : nullptr;
  const LayerMemory memory = pass.memory ? pass.memory(index) : LayerMemory{};
  std::vector<at::Tensor> inputs{given.tokens, given.e0, given.context};
  inputs.insert(inputs.end(), memory.past.begin(), memory.past.end());
  const auto layer = [source, held, config, index,
                      kept = source ? LayerWeights{} : weights.layers[index]] {
    if (!source) return kept;
    return DitWeights::read_layer(config, held ? held->tensors() : source->take(index), index);
  };
  NetworkPart part{.run = [layer, config, index, rope = given.rope, strips, attend = pass.attend,
                           attend_past = memory.attend](const std::vector<at::Tensor>& operands) {
    const LayerWeights now = layer();
    const std::vector<at::Tensor> past(operands.begin() + 3, operands.end());
    std::vector<at::Tensor> fresh;
    const at::Tensor out =
        run_layer(now, config, operands[0], operands[1], rope,
                  cross_keys(now.cross_attn, config, operands[2]), [&](const ops::Projections& p) {
                    return strips.attend(p, [&](const ops::Projections& whole) {
                      return attend_past ? attend_past(whole, past, fresh) : attend(index, whole);
                    });
                  });
    fresh.insert(fresh.begin(), out);
    return fresh;
  }};
  if (held) {
    part.keep_activations = true;
    part.after_forward = [held] { held->leave(); };
    part.before_backward = [held] { held->come_back(); };
    part.after_backward = [held] { held->gradients_are_ready(); };
  } else if (source) {
    part.after_backward = [source, index] { source->gradients_are_ready(index); };
  }
  const std::vector<at::Tensor> outputs = run_part(std::move(part), inputs);
  if (memory.keep) memory.keep({outputs.begin() + 1, outputs.end()});
  return outputs.front();
}

}  // namespace

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

at::Tensor run_body(const DitWeights& weights, const WanConfig& config, const BodyPass& pass) {
  const ops::Grid video = token_grid(pass.x, config.patch_size);
  const Strips strips(config, video);
  MONARCH_CHECK(!config.sequence || video.frames % pass.t.size(1) == 0,
                "[monarch_models] with sequence parallelism a timestep is for whole frames; got ",
                pass.t.size(1), " timesteps for ", video.frames, " frames");
  const TimeEmbedding time = embed_time(weights, config, pass.t, pass.x.scalar_type());
  const at::Tensor rope = strips.cut_rope(
      pass.rope.defined() ? pass.rope : rope_table(video, 0, config.head_dim(), pass.x.device()));
  at::Tensor tokens = patch_embed(strips.cut(pass.x), weights.patch_embedding.weight,
                                  weights.patch_embedding.bias, config.patch_size);
  const bool in_parts = (config.recompute_layers || weights.source) && at::GradMode::is_enabled() &&
                        tokens.requires_grad();
  ContextKeys keys(config, pass);
  for (size_t i = 0; i < static_cast<size_t>(config.num_layers); ++i) {
    if (in_parts) {
      tokens =
          layer_part(weights, config, pass, strips, i, {tokens, time.e0, keys.context(), rope});
      continue;
    }
    const LayerWeights layer = weights.source
                                   ? DitWeights::read_layer(config, weights.source->take(i), i)
                                   : weights.layers[i];
    tokens = run_layer(layer, config, tokens, time.e0, rope, keys.of(i, layer.cross_attn),
                       [&](const ops::Projections& p) {
                         return strips.attend(p, [&](const ops::Projections& whole) {
                           return pass.attend(i, whole);
                         });
                       });
  }
  return strips.join(
      unpatchify(run_head(weights, config, tokens, time.e), strips.grid(), config.patch_size));
}

}  // namespace monarch::models
