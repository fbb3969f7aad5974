// Which attention a head runs: one preset for all, and rules that choose another by layer, head,
// denoising step and chunk.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::models {

struct WanConfig;

enum class AttentionKind { kDense, kMonarch, kVMonarch };

struct HeadAttention {
  AttentionKind kind = AttentionKind::kDense;
  ops::MonarchOptions monarch = {};    // with kMonarch; `enable` has no meaning here
  ops::VMonarchOptions vmonarch = {};  // with kVMonarch

  bool operator==(const HeadAttention&) const = default;
};

// Numbers from 0 on: written 3, "0-4", or a list of such; empty means all.
class IndexSet {
 public:
  static IndexSet from_json(const Json& json, const std::string& where);
  bool all() const { return ranges_.empty(); }
  bool contains(int64_t index) const;
  // The largest number named; -1 for all.
  int64_t largest() const;
  std::string text() const;  // "0-4, 7"; empty for all
  // Adds the numbers at which membership changes.
  void add_edges(std::vector<int64_t>& edges) const;

 private:
  std::vector<std::pair<int64_t, int64_t>> ranges_;  // first and last
};

// What the heads it names run, in the layers, denoising steps and chunks it names.
struct AttentionRule {
  IndexSet layers, heads, steps, chunks;
  HeadAttention attention;

  // Keys: `preset` (dense, monarchrt or vmonarch); `layers`, `heads`, `steps`, `chunks`; and the
  // preset's own, those of monarch_args or vmonarch_args.
  static AttentionRule from_json(const Json& json, const std::string& where);
};

// "layers 0-3, steps 0-4: dense"
std::string describe(const AttentionRule& rule);

// A list of rules, or a single one.
std::vector<AttentionRule> attention_rules_from_json(const Json& json, const std::string& where);

// Where a forward pass stands: rules by step or chunk need to know.
struct AttentionPosition {
  int64_t step = -1;  // of the denoising steps of one chunk or video, from 0; -1: unknown
  int64_t chunk = 0;  // of a causal video; 0 when there are none
};

// Whether a rule asks for the step.
bool choose_by_step(const std::vector<AttentionRule>& rules);
// Whether a rule asks for the chunk.
bool choose_by_chunk(const std::vector<AttentionRule>& rules);

// Neighbouring heads that run the same.
struct HeadGroup {
  int64_t first = 0;
  int64_t count = 0;
  HeadAttention attention;
};

// The groups of a layer's heads, in order. The last rule that names a head decides; without one
// the config's preset does. Throws if a rule asks for the step and it is not known.
std::vector<HeadGroup> head_groups(const WanConfig& config, int64_t layer,
                                   const AttentionPosition& position);

// The block order of a layer's KV cache during a chunk: the tiling of its Monarch heads at any
// step, or token order (all ones) if all are dense. `num_iters` has no meaning here. Throws if
// heads or steps disagree, or one of them runs vmonarch.
ops::MonarchOptions cache_tiling(const WanConfig& config, int64_t layer, int64_t chunk);

// The chunk that starts at a latent frame.
int64_t chunk_of_frame(const WanConfig& config, int64_t frame);

// The least number of frames that every tiling of a causal model's KV caches groups evenly: what
// eviction drops is a multiple of it.
int64_t tied_frames(const WanConfig& config);

// Throws if a rule names layers or heads there are not.
void validate_rules(const WanConfig& config);
// Throws if a causal model could not cache keys and values under the rules.
void validate_causal_rules(const WanConfig& config);
// For passes over a whole video: throws if a rule asks for the chunk.
void check_no_chunk_rules(const WanConfig& config);

bool same_tiling(const ops::MonarchOptions& a, const ops::MonarchOptions& b);

}  // namespace monarch::models
