// Keys and values of the frames a causal transformer has seen.
//
// The cache belongs to the caller, the model is const. Keys are stored rotated, with the absolute
// positions they had when written (but for relative_sink); keys and values of a layer are in the
// block order of its Monarch heads, in token order if it has none.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/cross_attention.h"
#include "monarch/models/wan/pass_recordings.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::models {

// What a pass that records gradients sees of earlier passes.
enum class CacheGradient {
  kDetached,  // constants
  // The cached values, but gradients flow into the keys and values that the last recording pass
  // over those frames computed: K = sg(K_cached) + (K_recorded - sg(K_recorded)).
  kStraightThrough,
};

// Where the tokens of one call go; the same in all layers.
struct CachePlan {
  int64_t sink = 0;       // tokens at the start that eviction leaves alone
  int64_t evict = 0;      // tokens dropped behind the sink; what follows moves down
  int64_t sink_turn = 0;  // frames by which the sink's positions move on
  int64_t local_end = 0;  // filled slots before the eviction
  int64_t first = 0;      // attend to the slots [first, end)
  int64_t begin = 0;      // write the new tokens to [begin, end)
  int64_t end = 0;
  int64_t global_end = 0;  // tokens seen since the start of the video, after the call
};

struct KeysValues {
  at::Tensor k, v;  // [B, tokens, heads, D]
};

class DitCache {
 public:
  // Room for `tokens` tokens in each layer, zeros; `options` gives type and device, which must be
  // those of the passes. With config.sequence it holds this rank's heads.
  DitCache(const WanConfig& config, int64_t batch, int64_t tokens, at::TensorOptions options);
  DitCache(DitCache&&) = default;
  DitCache& operator=(DitCache&&) = default;
  DitCache(const DitCache&) = delete;  // copies would share the buffers
  DitCache& operator=(const DitCache&) = delete;

  // Starts a new video: indices to 0. The buffers keep their contents.
  void rewind();
  // The same with another context.
  void reset();
  // The next pass computes the cross-attention keys from the context it is given.
  void forget_context();

  // Slots of a call with `new_tokens` tokens that start at frame start_frame, frames having
  // frame_tokens tokens. Throws if they do not fit.
  CachePlan plan(const WanConfig& config, int64_t start_frame, int64_t new_tokens,
                 int64_t frame_tokens) const;

  // Starts a call in one layer: evicts (in other buffers if a Past refers to them), and re-orders
  // what stays if it lies in the block order of another tiling. `grid` is that of the new tokens,
  // `fresh` any tensor [B, ...] of the pass.
  void prepare(size_t layer, const CachePlan& plan, const ops::MonarchOptions& tiling,
               const ops::Grid& grid, const at::Tensor& fresh);

  // Then either: the slots for the call's keys and values [B, n, heads, D] in block order, to be
  // filled, and all that the new queries attend to: views, valid until the next call.
  KeysValues fresh_slots(size_t layer, const CachePlan& plan) const;
  KeysValues seen(size_t layer, const CachePlan& plan) const;
  // Or, in a pass that records gradients, what the queries see of earlier passes: later calls do
  // not change it.
  class Past {
   public:
    // Keys and values that gradients flow into: all keys, then all values.
    const std::vector<at::Tensor>& graphs() const { return graphs_; }
    // Everything that the queries attend to, with other tensors in the place of `graphs`.
    KeysValues before(const KeysValues& fresh, const std::vector<at::Tensor>& graphs) const;

   private:
    friend class DitCache;
    struct Range {
      int64_t begin, end;
    };
    KeysValues values_;          // constants
    std::vector<Range> ranges_;  // of the values with graphs, ascending
    std::vector<at::Tensor> graphs_;
  };
  Past past(size_t layer, const CachePlan& plan);
  // And then writes `fresh`, in block order, with its graph.
  void record(size_t layer, const CachePlan& plan, const KeysValues& fresh);

  // Ends a call: takes over the plan's indices.
  void commit(const CachePlan& plan);

  int64_t num_layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t capacity() const { return capacity_; }
  int64_t local_end() const { return local_end_; }    // filled slots
  int64_t global_end() const { return global_end_; }  // tokens seen since the start
  // The whole buffers of a layer, [B, capacity, heads, D].
  const KeysValues& buffers(size_t layer) const { return layers_[layer].buffers; }
  // Cross-attention keys; k is undefined until a pass has filled them.
  CrossKv& cross(size_t layer) { return layers_[layer].cross; }
  const CrossKv& cross(size_t layer) const { return layers_[layer].cross; }
  bool has_context() const;

  // Where a call's tokens stand, as rope_table says; the last table is kept.
  const at::Tensor& rope(const WanConfig& config, const ops::Grid& grid, int64_t start_frame);

  // Passes that repeat with the same slots are recorded from now on; null: no longer.
  void record_passes(std::shared_ptr<ops::Recorder> recorder);
  // Null: no pass is recorded.
  PassRecordings* recordings() { return recordings_.get(); }
  // Where a pass finds the keys and values of all layers.
  std::vector<int64_t> addresses() const;

  // Default: straight-through for dense attention, detached for Monarch, as published.
  CacheGradient gradient;

 private:
  // Keys and values with their graph, of slots [begin, begin + tokens).
  struct Recorded {
    int64_t begin = 0;
    KeysValues kv;
    int64_t end() const { return begin + kv.k.size(1); }
  };
  struct Layer {
    KeysValues buffers;
    ops::MonarchOptions tiling;      // whose block order the buffers are in
    std::vector<Recorded> recorded;  // by slot, not overlapping; straight-through only
    int64_t lent = 0;                // a Past may refer to the slots before it
    at::Tensor sink;                 // float32 keys of the sink as written, once they turn
    int64_t turned = 0;              // frames
    CrossKv cross;
  };

  static void evict(Layer& layer, const CachePlan& plan);
  static void turn_sink(Layer& layer, const CachePlan& plan);
  static void reorder(Layer& layer, int64_t tokens, const ops::MonarchOptions& tiling,
                      const ops::Grid& grid);
  static std::vector<Recorded> without(const std::vector<Recorded>& recorded, int64_t begin,
                                       int64_t end);

  struct Rope {
    ops::Grid grid;
    int64_t start_frame = -1;
    at::Tensor table;
  };

  std::vector<Layer> layers_;
  Rope rope_;
  std::unique_ptr<PassRecordings> recordings_;
  int64_t capacity_;
  int64_t local_end_ = 0;
  int64_t global_end_ = 0;
};

}  // namespace monarch::models
