#include "monarch/models/wan/causal_dit.h"

#include <atomic>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/dit_body.h"
#include "monarch/models/wan/embeddings.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/sequence.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {

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

// In a cache that is prepared for the call; without gradients.
at::Tensor attend_prepared(const ops::Projections& p, const CachedCall& call, const DitCache& cache,
                           size_t layer) {
  const ops::MonarchOptions tiling = call.tiling(layer);
  const KeysValues fresh = cache.fresh_slots(layer, call.plan);
  const at::Tensor q = ops::norm_rope_write(p, call.grid, tiling, fresh.k, fresh.v);
  const KeysValues seen = cache.seen(layer, call.plan);
  return attend_blocks({q, seen.k, seen.v}, call, layer);
}

at::Tensor attend_cached(const ops::Projections& p, const CachedCall& call, DitCache& cache,
                         size_t layer) {
  cache.prepare(layer, call.plan, call.tiling(layer), call.grid, p.k);
  if (!records_gradients(p)) return attend_prepared(p, call, cache, layer);
  const Qkv own = rotated(p);
  const KeysValues fresh = in_block_order(own, call, layer);
  const DitCache::Past past = cache.past(layer, call.plan);
  const KeysValues seen = past.before(fresh, past.graphs());
  cache.record(layer, call.plan, fresh);
  return attend_blocks({own.q, seen.k, seen.v}, call, layer);
}

// attend_cached with gradients in three parts, the second of which can be repeated.
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

int64_t next_identity() {
  static std::atomic<int64_t> next = 0;
  return next++;
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
    : config_(config), weights_(std::move(weights)), identity_(next_identity()) {
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
  const CachedCall call{config_,
                        grid,
                        cache.plan(config_, start_frame, grid.tokens(), grid.frame_tokens()),
                        {.step = input.step, .chunk = chunk_of_frame(config_, start_frame)}};
  BodyPass pass{.x = x,
                .t = per_run(input.t),
                .rope = cache.rope(config_, grid, start_frame),
                .context = [&] { return embed_input_context(*weights_, config_, input); },
                .attend =
                    [&](size_t layer, const ops::Projections& projections) {
                      return attend_cached(projections, call, cache, layer);
                    },
                .kept_keys = [&](size_t layer) -> CrossKv& { return cache.cross(layer); },
                .memory = [&](size_t layer) { return cached_memory(call, cache, layer, x); }};
  const at::Tensor out =
      records_passes(cache) ? run_recorded(pass, call, cache) : run_body(*weights_, config_, pass);
  cache.commit(call.plan);
  return out;
}

bool CausalWanDit::records_passes(DitCache& cache) const {
  return cache.recordings() != nullptr && cache.has_context() && !at::GradMode::is_enabled() &&
         !config_.sequence && !weights_->source;
}

at::Tensor CausalWanDit::run_recorded(const BodyPass& pass, const CachedCall& call,
                                      DitCache& cache) const {
  // What moves keys and values comes once a chunk and is different every time; it stays outside.
  for (size_t layer = 0; layer < static_cast<size_t>(config_.num_layers); ++layer)
    cache.prepare(layer, call.plan, call.tiling(layer), call.grid, pass.x);
  const auto work = [weights = weights_, config = config_, call,
                     &cache](const PassRecordings::Inputs& inputs) {
    return run_body(*weights, config,
                    {.x = inputs.x,
                     .t = inputs.t,
                     .rope = inputs.rope,
                     .attend =
                         [&](size_t layer, const ops::Projections& projections) {
                           return attend_prepared(projections, call, cache, layer);
                         },
                     .kept_keys = [&](size_t layer) -> CrossKv& { return cache.cross(layer); }});
  };
  std::vector<int64_t> surroundings = cache.addresses();
  surroundings.push_back(identity_);
  return cache.recordings()->run({call.plan.first, call.plan.begin, call.plan.end,
                                  choose_by_step(config_.attention) ? call.position.step : 0,
                                  choose_by_chunk(config_.attention) ? call.position.chunk : 0},
                                 surroundings, {pass.x, pass.t, pass.rope}, work);
}

}  // namespace monarch::models
