#include "monarch/models/wan/kv_cache.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/attention_rules.h"
#include "monarch/models/wan/rope.h"
#include "monarch/models/wan/sequence.h"
#include "monarch/ops/attention.h"

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
    const std::vector<int64_t> shape{batch, tokens, own_heads(config).count, config.head_dim()};
    layer.buffers = {at::zeros(shape, options), at::zeros(shape, options)};
  }
}

void DitCache::rewind() {
  local_end_ = global_end_ = 0;
  for (Layer& layer : layers_) {
    layer.recorded.clear();
    layer.sink = at::Tensor();
    layer.turned = 0;
  }
}

void DitCache::reset() {
  rewind();
  forget_context();
}

void DitCache::forget_context() {
  for (Layer& layer : layers_) layer.cross = {};
}

bool DitCache::has_context() const {
  return std::all_of(layers_.begin(), layers_.end(),
                     [](const Layer& layer) { return layer.cross.k.defined(); });
}

const at::Tensor& DitCache::rope(const WanConfig& config, const ops::Grid& grid,
                                 int64_t start_frame) {
  if (!rope_.table.defined() || rope_.start_frame != start_frame || rope_.grid != grid) {
    const at::Device device = layers_.front().buffers.k.device();
    rope_ = {grid, start_frame, rope_table(grid, start_frame, config.head_dim(), device)};
  }
  return rope_.table;
}

void DitCache::record_passes(std::shared_ptr<ops::Recorder> recorder) {
  recordings_ = recorder ? std::make_unique<PassRecordings>(std::move(recorder)) : nullptr;
}

std::vector<int64_t> DitCache::addresses() const {
  std::vector<int64_t> all;
  const auto add = [&](const at::Tensor& t) {
    all.push_back(t.defined() ? reinterpret_cast<int64_t>(t.const_data_ptr()) : 0);
  };
  for (const Layer& layer : layers_) {
    add(layer.buffers.k);
    add(layer.buffers.v);
    for (const at::Tensor& t : {layer.cross.k, layer.cross.v, layer.cross.k_img, layer.cross.v_img})
      add(t);
  }
  return all;
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
  const int64_t unit = tied_frames(config) * frame_tokens;  // blocks are evicted whole
  if (windowed && plan.global_end > global_end_ && new_tokens + local_end_ > capacity_) {
    const int64_t needed = new_tokens + local_end_ - capacity_;
    plan.evict = (needed + unit - 1) / unit * unit;
    if (config.relative_sink) plan.sink_turn = plan.evict / frame_tokens;
  }
  plan.end = local_end_ + plan.global_end - global_end_ - plan.evict;
  plan.begin = plan.end - new_tokens;
  if (plan.evict > 0) {
    const int64_t hidden = std::max<int64_t>(0, plan.end - config.local_attn_size * frame_tokens);
    plan.first = (hidden + unit - 1) / unit * unit;
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

// From the keys as they were written: turning turned ones would add up their roundings.
void DitCache::turn_sink(Layer& layer, const CachePlan& plan) {
  const at::Tensor held = layer.buffers.k.slice(1, 0, plan.sink);
  if (!layer.sink.defined())
    layer.sink = held.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  layer.turned += plan.sink_turn;
  held.copy_(turn_frames(layer.sink, layer.turned));
  layer.recorded = without(layer.recorded, 0, plan.sink);  // their graphs end where the sink turns
}

DitCache::Past DitCache::past(size_t index, const CachePlan& plan) {
  Layer& layer = layers_[index];
  Past past;
  // Without the buffers' version: writes to other slots are no change.
  past.values_ = slots({layer.buffers.k.variable_data(), layer.buffers.v.variable_data()},
                       plan.first, plan.begin);
  layer.lent = std::max(layer.lent, plan.begin);
  std::vector<at::Tensor> values;
  for (const Recorded& piece : layer.recorded) {
    const int64_t begin = std::max(plan.first, piece.begin),
                  end = std::min(plan.begin, piece.end());
    if (begin >= end) continue;
    const KeysValues graph = slots(piece.kv, begin - piece.begin, end - piece.begin);
    past.ranges_.push_back({begin - plan.first, end - plan.first});
    past.graphs_.push_back(graph.k);
    values.push_back(graph.v);
  }
  past.graphs_.insert(past.graphs_.end(), values.begin(), values.end());
  return past;
}

KeysValues DitCache::Past::before(const KeysValues& fresh,
                                  const std::vector<at::Tensor>& graphs) const {
  const auto joined = [&](const at::Tensor& values, size_t first_graph, const at::Tensor& last) {
    std::vector<at::Tensor> parts;
    int64_t next = 0;
    for (size_t i = 0; i < ranges_.size(); ++i) {
      const auto [begin, end] = ranges_[i];
      parts.push_back(values.slice(1, next, begin));
      parts.push_back(straight_through(values.slice(1, begin, end), graphs[first_graph + i]));
      next = end;
    }
    parts.push_back(values.slice(1, next));
    parts.push_back(last);
    return at::cat(parts, 1);
  };
  return {joined(values_.k, 0, fresh.k), joined(values_.v, ranges_.size(), fresh.v)};
}

// Slots [0, tokens) from one block order into another.
void DitCache::reorder(Layer& layer, int64_t tokens, const ops::MonarchOptions& tiling,
                       const ops::Grid& grid) {
  if (same_tiling(layer.tiling, tiling)) return;
  const auto moved = [&](const at::Tensor& t) {
    const ops::Grid frames{t.size(1) / grid.frame_tokens(), grid.height, grid.width};
    return ops::to_block_order(ops::from_block_order(t, frames, layer.tiling), frames, tiling);
  };
  if (tokens > 0) {
    const int64_t frames = tokens / grid.frame_tokens();
    MONARCH_CHECK(frames % tiling.f_tied == 0, "[monarch_models] the KV cache holds ", frames,
                  " frames, which f_tied ", tiling.f_tied,
                  " does not divide; change the tiling at another chunk");
    const KeysValues held = slots(layer.buffers, 0, tokens);
    // Through a copy: the result may be a view of the same memory.
    held.k.copy_(moved(held.k).clone());
    held.v.copy_(moved(held.v).clone());
    if (layer.sink.defined()) layer.sink = moved(layer.sink).clone();
    const at::AutoGradMode keep_graphs(true);
    for (Recorded& piece : layer.recorded) piece.kv = {moved(piece.kv.k), moved(piece.kv.v)};
  }
  layer.tiling = tiling;
}

void DitCache::prepare(size_t index, const CachePlan& plan, const ops::MonarchOptions& tiling,
                       const ops::Grid& grid, const at::Tensor& fresh) {
  Layer& layer = layers_[index];
  const at::Tensor& buffer = layer.buffers.k;
  MONARCH_CHECK(fresh.scalar_type() == buffer.scalar_type() && fresh.device() == buffer.device() &&
                    fresh.size(0) == buffer.size(0),
                "[monarch_models] the KV cache holds ", buffer.scalar_type(), " on ",
                buffer.device(), " for a batch of ", buffer.size(0), ", the pass has ",
                fresh.scalar_type(), " on ", fresh.device(), " and a batch of ", fresh.size(0));
  const bool moves = plan.evict > 0 || !same_tiling(layer.tiling, tiling);
  if (layer.lent > 0 && (moves || plan.begin < layer.lent)) {
    layer.buffers = {layer.buffers.k.clone(), layer.buffers.v.clone()};
    layer.lent = 0;
  }
  if (plan.evict > 0) evict(layer, plan);
  if (plan.sink_turn > 0 && plan.sink > 0) turn_sink(layer, plan);
  reorder(layer, plan.local_end - plan.evict, tiling, grid);
}

KeysValues DitCache::fresh_slots(size_t index, const CachePlan& plan) const {
  return slots(layers_[index].buffers, plan.begin, plan.end);
}

KeysValues DitCache::seen(size_t index, const CachePlan& plan) const {
  return slots(layers_[index].buffers, plan.first, plan.end);
}

void DitCache::record(size_t index, const CachePlan& plan, const KeysValues& fresh) {
  Layer& layer = layers_[index];
  if (gradient == CacheGradient::kStraightThrough) {
    layer.recorded = without(layer.recorded, plan.begin, plan.end);
    layer.recorded.push_back({plan.begin, fresh});
    std::sort(layer.recorded.begin(), layer.recorded.end(),
              [](const Recorded& a, const Recorded& b) { return a.begin < b.begin; });
  }
  const KeysValues target = fresh_slots(index, plan);
  target.k.copy_(fresh.k.detach());
  target.v.copy_(fresh.v.detach());
}

void DitCache::commit(const CachePlan& plan) {
  global_end_ = plan.global_end;
  local_end_ = plan.end;
}

}  // namespace monarch::models
