#include "monarch/models/wan/causal_dit.h"

#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/dit_body.h"
#include "monarch/models/wan/embeddings.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

at::Tensor block_causal_attention(const Qkv& qkv, const WanConfig& config, const ops::Grid& grid,
                                  const std::vector<ops::QueryRun>& runs) {
  if (!config.monarch.enable) return ops::dense_attention_runs(qkv.q, qkv.k, qkv.v, runs);
  return ops::monarch_attention_block_causal(qkv.q, qkv.k, qkv.v, config.monarch, grid,
                                             config.num_frame_per_block * grid.frame_tokens());
}

at::Tensor attend_cached(const Qkv& qkv, const WanConfig& config, const ops::Grid& grid,
                         size_t layer, const CachePlan& plan, DitCache& cache) {
  if (!config.monarch.enable) {
    const KeysValues seen = cache.write(layer, plan, {qkv.k, qkv.v});
    return ops::dense_attention(qkv.q, seen.k, seen.v);
  }
  const ops::MonarchOptions& options = config.monarch;
  const KeysValues seen = cache.write(
      layer, plan,
      {ops::to_block_order(qkv.k, grid, options), ops::to_block_order(qkv.v, grid, options)});
  const ops::Grid seen_grid{seen.k.size(1) / grid.frame_tokens(), grid.height, grid.width};
  return ops::monarch_attention_blocks(qkv.q, seen.k, seen.v, options, grid, seen_grid);
}

at::Tensor per_run(const at::Tensor& t) { return t.dim() == 1 ? t.unsqueeze(1) : t; }

}  // namespace

std::vector<ops::QueryRun> block_causal_runs(const WanConfig& config, int64_t num_frames,
                                             int64_t frame_tokens) {
  std::vector<ops::QueryRun> runs;
  for (int64_t frame = 0; frame < num_frames;) {
    const bool alone = frame == 0 && config.independent_first_frame;
    const int64_t end = std::min(num_frames, frame + (alone ? 1 : config.num_frame_per_block));
    const int64_t first =
        config.local_attn_size == -1 ? 0 : std::max<int64_t>(0, end - config.local_attn_size);
    runs.push_back({.query_begin = frame * frame_tokens,
                    .query_end = end * frame_tokens,
                    .key_begin = first * frame_tokens,
                    .key_end = end * frame_tokens,
                    .sees_self = true});
    frame = end;
  }
  return runs;
}

CausalWanDit::CausalWanDit(const WanConfig& config, const TensorMap& weights)
    : CausalWanDit(config, std::make_shared<const DitWeights>(DitWeights::read(config, weights))) {}

CausalWanDit::CausalWanDit(const WanConfig& config, std::shared_ptr<const DitWeights> weights)
    : config_(config), weights_(std::move(weights)) {
  config_.validate();
  MONARCH_CHECK(!config_.vmonarch || config_.monarch.enable,
                "[monarch_models] vmonarch factorises the whole video at once and cannot run "
                "causally; use monarchrt or dense attention");
}

at::Tensor CausalWanDit::forward_train(const DitInput& input) const {
  const at::Tensor x = model_input(config_, input);
  const ops::Grid grid = token_grid(x, config_.patch_size);
  if (config_.monarch.enable) {
    MONARCH_CHECK(config_.num_frame_per_block % config_.monarch.f_tied == 0 &&
                      grid.frames % config_.num_frame_per_block == 0,
                  "[monarch_models] causal Monarch attention needs f_tied to divide ",
                  "num_frame_per_block, and that to divide the frame count; got ",
                  config_.monarch.f_tied, ", ", config_.num_frame_per_block, " and ", grid.frames);
  }
  const std::vector<ops::QueryRun> runs =
      block_causal_runs(config_, grid.frames, grid.frame_tokens());
  const at::Tensor context = embed_input_context(*weights_, config_, input);
  return run_body(
      *weights_, config_, x, per_run(input.t), /*start_frame=*/0,
      [&](size_t layer) {
        return cross_keys(weights_->layers[layer].cross_attn, config_, context);
      },
      [&](size_t, const Qkv& qkv) { return block_causal_attention(qkv, config_, grid, runs); });
}

at::Tensor CausalWanDit::forward_cached(const DitInput& input, int64_t start_frame,
                                        DitCache& cache) const {
  const at::Tensor x = model_input(config_, input);
  const ops::Grid grid = token_grid(x, config_.patch_size);
  MONARCH_CHECK(cache.num_layers() == config_.num_layers, "[monarch_models] the cache has ",
                cache.num_layers(), " layers, the model ", config_.num_layers);
  const CachePlan plan = cache.plan(config_, start_frame, grid.tokens(), grid.frame_tokens());
  at::Tensor context;  // embedded when a layer first asks
  const auto cross = [&](size_t layer) {
    const AttentionWeights& weights = weights_->layers[layer].cross_attn;
    if (cache.cross(layer).k.defined() && !at::GradMode::is_enabled()) return cache.cross(layer);
    if (!context.defined()) context = embed_input_context(*weights_, config_, input);
    const CrossKv fresh = cross_keys(weights, config_, context);
    if (!at::GradMode::is_enabled()) cache.cross(layer) = fresh;
    return fresh;
  };
  const at::Tensor out = run_body(*weights_, config_, x, per_run(input.t), start_frame, cross,
                                  [&](size_t layer, const Qkv& qkv) {
                                    return attend_cached(qkv, config_, grid, layer, plan, cache);
                                  });
  cache.commit(plan);
  return out;
}

}  // namespace monarch::models
