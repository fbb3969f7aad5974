#include "monarch/models/wan/kv_cache.h"

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

KeysValues slots(const KeysValues& kv, int64_t begin, int64_t end) {
  return {kv.k.slice(1, begin, end), kv.v.slice(1, begin, end)};
}

// a's value with b's gradient.
at::Tensor straight_through(const at::Tensor& a, const at::Tensor& b) {
  return a + (b - b.detach());
}

}  // namespace

DitCache::DitCache(const WanConfig& config, int64_t batch, int64_t tokens,
                   at::TensorOptions options)
    : gradient(config.monarch.enable ? CacheGradient::kDetached : CacheGradient::kStraightThrough),
      layers_(static_cast<size_t>(config.num_layers)),
      capacity_(tokens) {
  MONARCH_CHECK(batch >= 1 && tokens >= 1, "[monarch_models] a KV cache needs a batch and tokens; ",
                "got ", batch, " and ", tokens);
  for (Layer& layer : layers_) {
    const std::vector<int64_t> shape{batch, tokens, config.num_heads, config.head_dim()};
    layer.buffers = {at::zeros(shape, options), at::zeros(shape, options)};
  }
}

void DitCache::reset() {
  local_end_ = global_end_ = 0;
  for (Layer& layer : layers_) layer.recorded.clear();
  forget_context();
}

void DitCache::forget_context() {
  for (Layer& layer : layers_) layer.cross = {};
}

bool DitCache::has_context() const {
  return std::all_of(layers_.begin(), layers_.end(),
                     [](const Layer& layer) { return layer.cross.k.defined(); });
}

CachePlan DitCache::plan(const WanConfig& config, int64_t start_frame, int64_t new_tokens,
                         int64_t frame_tokens) const {
  CachePlan plan{.sink = config.sink_size * frame_tokens,
                 .local_end = local_end_,
                 .global_end = start_frame * frame_tokens + new_tokens};
  MONARCH_CHECK(start_frame >= 0 && plan.global_end - new_tokens <= global_end_,
                "[monarch_models] the chunk starts at frame ", start_frame, ", but the cache ends ",
                "at frame ", global_end_ / frame_tokens, "; frames must follow one another");
  const bool windowed = config.local_attn_size != -1;
  if (windowed && plan.global_end > global_end_ && new_tokens + local_end_ > capacity_) {
    plan.evict = new_tokens + local_end_ - capacity_;
  }
  plan.end = local_end_ + plan.global_end - global_end_ - plan.evict;
  plan.begin = plan.end - new_tokens;
  if (plan.evict > 0) {
    plan.first = std::max<int64_t>(0, plan.end - config.local_attn_size * frame_tokens);
  }
  MONARCH_CHECK(plan.begin >= 0 && plan.end <= capacity_, "[monarch_models] ", new_tokens,
                " tokens from frame ", start_frame, " on do not fit the KV cache of ", capacity_,
                " tokens, which holds ", local_end_,
                windowed ? "" : "; set local_attn_size, or use a larger cache");
  return plan;
}

// The recorded pieces outside [begin, end).
std::vector<DitCache::Recorded> DitCache::without(const std::vector<Recorded>& recorded,
                                                  int64_t begin, int64_t end) {
  std::vector<Recorded> kept;
  for (const Recorded& piece : recorded) {
    if (piece.begin < begin) {
      kept.push_back({piece.begin, slots(piece.kv, 0, std::min(begin, piece.end()) - piece.begin)});
    }
    if (piece.end() > end) {
      const int64_t from = std::max(end, piece.begin);
      kept.push_back({from, slots(piece.kv, from - piece.begin, piece.end() - piece.begin)});
    }
  }
  return kept;
}

void DitCache::evict(Layer& layer, const CachePlan& plan) {
  const int64_t from = plan.sink + plan.evict;
  if (plan.local_end > from) {
    const int64_t to = plan.sink + plan.local_end - from;
    for (at::Tensor* buffer : {&layer.buffers.k, &layer.buffers.v}) {
      // Through a temporary: source and destination overlap.
      buffer->slice(1, plan.sink, to).copy_(buffer->slice(1, from, plan.local_end).clone());
    }
  }
  layer.recorded = without(layer.recorded, plan.sink, from);
  for (Recorded& piece : layer.recorded) {
    if (piece.begin >= from) piece.begin -= plan.evict;
  }
}

// Slots [first, end) as later passes may not change them, with the gradients of earlier ones.
KeysValues DitCache::past(const Layer& layer, int64_t first, int64_t end) const {
  KeysValues values = slots(layer.buffers, first, end);
  if (gradient == CacheGradient::kDetached || layer.recorded.empty()) return values;
  std::vector<at::Tensor> k, v;
  int64_t next = first;
  const auto constants_until = [&](int64_t slot) {
    if (slot <= next) return;
    const KeysValues part = slots(layer.buffers, next, slot);
    k.push_back(part.k);
    v.push_back(part.v);
    next = slot;
  };
  for (const Recorded& piece : layer.recorded) {
    const int64_t begin = std::max(first, piece.begin), stop = std::min(end, piece.end());
    if (begin >= stop) continue;
    constants_until(begin);
    const KeysValues value = slots(layer.buffers, begin, stop);
    const KeysValues graph = slots(piece.kv, begin - piece.begin, stop - piece.begin);
    k.push_back(straight_through(value.k, graph.k));
    v.push_back(straight_through(value.v, graph.v));
    next = stop;
  }
  constants_until(end);
  if (k.empty()) return values;
  return {at::cat(k, 1), at::cat(v, 1)};
}

KeysValues DitCache::write(size_t index, const CachePlan& plan, const KeysValues& fresh) {
  Layer& layer = layers_[index];
  MONARCH_CHECK(fresh.k.scalar_type() == layer.buffers.k.scalar_type() &&
                    fresh.k.device() == layer.buffers.k.device() &&
                    fresh.k.size(0) == layer.buffers.k.size(0),
                "[monarch_models] the KV cache holds ", layer.buffers.k.scalar_type(), " on ",
                layer.buffers.k.device(), " for a batch of ", layer.buffers.k.size(0),
                ", the pass has ", fresh.k.scalar_type(), " on ", fresh.k.device(),
                " and a batch of ", fresh.k.size(0));
  if (plan.evict > 0) evict(layer, plan);
  const bool recording =
      at::GradMode::is_enabled() && (fresh.k.requires_grad() || fresh.v.requires_grad());
  KeysValues seen;
  if (recording) {
    const KeysValues before = past(layer, plan.first, plan.begin);
    seen = {at::cat({before.k, fresh.k}, 1), at::cat({before.v, fresh.v}, 1)};
    if (gradient == CacheGradient::kStraightThrough) {
      layer.recorded = without(layer.recorded, plan.begin, plan.end);
      layer.recorded.push_back({plan.begin, fresh});
      std::sort(layer.recorded.begin(), layer.recorded.end(),
                [](const Recorded& a, const Recorded& b) { return a.begin < b.begin; });
    }
  }
  const KeysValues target = slots(layer.buffers, plan.begin, plan.end);
  target.k.copy_(fresh.k.detach());
  target.v.copy_(fresh.v.detach());
  return recording ? seen : slots(layer.buffers, plan.first, plan.end);
}

void DitCache::commit(const CachePlan& plan) {
  global_end_ = plan.global_end;
  local_end_ = plan.end;
}

}  // namespace monarch::models
