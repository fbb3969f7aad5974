#include "monarch/models/wan/causal_dit.h"

#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/dit_body.h"
#include "monarch/models/wan/embeddings.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/sequence.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

at::Tensor block_causal_attention(const Qkv& all, const std::vector<HeadGroup>& groups,
                                  const WanConfig& config, const ops::Grid& grid,
                                  const std::vector<ops::QueryRun>& runs) {
  return attend_heads(all, groups, [&](const Qkv& qkv, const HeadAttention& attention) {
    if (attention.kind == AttentionKind::kDense)
      return ops::dense_attention_runs(qkv.q, qkv.k, qkv.v, runs);
    return ops::monarch_attention_block_causal(qkv.q, qkv.k, qkv.v, attention.monarch, grid,
                                               config.num_frame_per_block * grid.frame_tokens(),
                                               config.causal_train_scale);
  });
}

bool records_gradients(const ops::Projections& p) {
  const auto records = [](const at::Tensor& t) { return t.requires_grad(); };
  return at::GradMode::is_enabled() &&
         (records(p.q) || records(p.k) || records(p.v) || records(p.norm_q) || records(p.norm_k));
}

// Where the tokens of one cached call are: the same in all layers.
struct CachedCall {
  WanConfig config;
  ops::Grid grid;
  CachePlan plan;
  AttentionPosition position;

  ops::MonarchOptions tiling(size_t layer) const {
    return cache_tiling(config, static_cast<int64_t>(layer), position.chunk);
  }
};

// Keys and values are in block order.
at::Tensor attend_blocks(const Qkv& all, const CachedCall& call, size_t layer) {
  const ops::Grid& grid = call.grid;
  const ops::Grid seen_grid{all.k.size(1) / grid.frame_tokens(), grid.height, grid.width};
  return attend_heads(all, own_head_groups(call.config, static_cast<int64_t>(layer), call.position),
                      [&](const Qkv& qkv, const HeadAttention& attention) {
                        // Dense attention does not ask for an order of keys.
                        if (attention.kind == AttentionKind::kDense)
                          return ops::dense_attention(qkv.q, qkv.k, qkv.v);
                        return ops::monarch_attention_blocks(qkv.q, qkv.k, qkv.v, attention.monarch,
                                                             grid, seen_grid);
                      });
}

KeysValues in_block_order(const Qkv& qkv, const CachedCall& call, size_t layer) {
  const ops::MonarchOptions tiling = call.tiling(layer);
  return {ops::to_block_order(qkv.k, call.grid, tiling),
          ops::to_block_order(qkv.v, call.grid, tiling)};
}

at::Tensor attend_cached(const ops::Projections& p, const CachedCall& call, DitCache& cache,
                         size_t layer) {
  const ops::MonarchOptions tiling = call.tiling(layer);
  cache.prepare(layer, call.plan, tiling, call.grid, p.k);
  if (records_gradients(p)) {
    const Qkv own = rotated(p);
    const KeysValues fresh = in_block_order(own, call, layer);
    const DitCache::Past past = cache.past(layer, call.plan);
    const KeysValues seen = past.before(fresh, past.graphs());
    cache.record(layer, call.plan, fresh);
    return attend_blocks({own.q, seen.k, seen.v}, call, layer);
  }
  const KeysValues fresh = cache.fresh_slots(layer, call.plan);
  const at::Tensor q = ops::norm_rope_write(p, call.grid, tiling, fresh.k, fresh.v);
  const KeysValues seen = cache.seen(layer, call.plan);
  return attend_blocks({q, seen.k, seen.v}, call, layer);
}

// The recording branch of attend_cached in three parts, the second of which can be repeated.
LayerMemory cached_memory(const CachedCall& call, DitCache& cache, size_t layer,
                          const at::Tensor& x) {
  cache.prepare(layer, call.plan, call.tiling(layer), call.grid, x);
  const DitCache::Past past = cache.past(layer, call.plan);
  return {.past = past.graphs(),
          .attend =
              [call, past, layer](const ops::Projections& p, const std::vector<at::Tensor>& graphs,
                                  std::vector<at::Tensor>& results) {
                const Qkv own = rotated(p);
                const KeysValues fresh = in_block_order(own, call, layer);
                const KeysValues seen = past.before(fresh, graphs);
                results = {fresh.k, fresh.v};
                return attend_blocks({own.q, seen.k, seen.v}, call, layer);
              },
          .keep =
              [call, &cache, layer](const std::vector<at::Tensor>& fresh) {
                cache.record(layer, call.plan, {fresh[0], fresh[1]});
              }};
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

CausalWanDit::CausalWanDit(const WanConfig& config, const TensorMap& weights,
                           std::shared_ptr<LayerSource> source)
    : CausalWanDit(config, std::make_shared<const DitWeights>(
                               DitWeights::read(config, weights, std::move(source)))) {}

CausalWanDit::CausalWanDit(const WanConfig& config, std::shared_ptr<const DitWeights> weights)
    : config_(config), weights_(std::move(weights)) {
  config_.validate();
  validate_causal_rules(config_);
}

at::Tensor CausalWanDit::forward_train(const DitInput& input) const {
  const at::Tensor x = model_input(config_, input);
  const ops::Grid grid = token_grid(x, config_.patch_size);
  check_no_chunk_rules(config_);
  const std::vector<ops::QueryRun> runs =
      block_causal_runs(config_, grid.frames, grid.frame_tokens());
  return run_body(*weights_, config_,
                  {.x = x,
                   .t = per_run(input.t),
                   .context = [&] { return embed_input_context(*weights_, config_, input); },
                   .attend =
                       [config = config_, step = input.step, grid, runs](
                           size_t layer, const ops::Projections& projections) {
                         return block_causal_attention(
                             rotated(projections),
                             own_head_groups(config, static_cast<int64_t>(layer), {.step = step}),
                             config, grid, runs);
                       }});
}

at::Tensor CausalWanDit::forward_cached(const DitInput& input, int64_t start_frame,
                                        DitCache& cache) const {
  const at::Tensor x = model_input(config_, input);
  const ops::Grid grid = token_grid(x, config_.patch_size);
  MONARCH_CHECK(cache.num_layers() == config_.num_layers, "[monarch_models] the cache has ",
                cache.num_layers(), " layers, the model ", config_.num_layers);
  const CachePlan plan = cache.plan(config_, start_frame, grid.tokens(), grid.frame_tokens());
  const CachedCall call{
      config_, grid, plan, {.step = input.step, .chunk = chunk_of_frame(config_, start_frame)}};
  const at::Tensor out =
      run_body(*weights_, config_,
               {.x = x,
                .t = per_run(input.t),
                .start_frame = start_frame,
                .context = [&] { return embed_input_context(*weights_, config_, input); },
                .attend =
                    [&](size_t layer, const ops::Projections& projections) {
                      return attend_cached(projections, call, cache, layer);
                    },
                .kept_keys = [&](size_t layer) -> CrossKv& { return cache.cross(layer); },
                .memory = [&](size_t layer) { return cached_memory(call, cache, layer, x); }});
  cache.commit(plan);
  return out;
}

}  // namespace monarch::models
