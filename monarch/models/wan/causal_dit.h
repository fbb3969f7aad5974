// The Wan transformer with a causal order of frames: for training on whole sequences, and for
// generation chunk by chunk with a cache.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/kv_cache.h"
#include "monarch/ops/attention.h"

namespace monarch::models {

struct BodyPass;
struct CachedCall;

// Which keys the queries of each chunk see: frames form chunks of config.num_frame_per_block (with
// independent_first_frame, frame 0 alone and then chunks); a chunk sees everything up to its own
// end, with local_attn_size = s only the last s frames of that. A token always sees itself.
std::vector<ops::QueryRun> block_causal_runs(const WanConfig& config, int64_t num_frames,
                                             int64_t frame_tokens);

// Parameters are those of WanDit, so a bidirectional checkpoint fits. Const and thread-safe; a
// cache serves one thread at a time.
class CausalWanDit {
 public:
  // As WanDit's.
  CausalWanDit(const WanConfig& config, const TensorMap& weights,
               std::shared_ptr<LayerSource> source = nullptr);
  // Shares the weights of another model of the same shape.
  CausalWanDit(const WanConfig& config, std::shared_ptr<const DitWeights> weights);

  // The whole sequence [B, C, F, H, W] at once, without a cache. t is [B, R]: R timesteps for R
  // equal runs of tokens, normally one a frame, or 1. Monarch attention ignores
  // independent_first_frame and local_attn_size.
  at::Tensor forward_train(const DitInput& input) const;

  // A chunk of frames that starts at latent frame start_frame. Keys and values go into `cache`,
  // queries see the cache and the whole chunk. Cross-attention keys are computed once and kept in
  // the cache; a later context has no effect until DitCache::forget_context(). Repeating a chunk
  // overwrites its slots. A pass that records gradients computes the cross-attention keys anew and
  // sees earlier chunks as cache.gradient says. If it throws, reset the cache.
  at::Tensor forward_cached(const DitInput& input, int64_t start_frame, DitCache& cache) const;

  const WanConfig& config() const { return config_; }
  const std::shared_ptr<const DitWeights>& weights() const { return weights_; }

 private:
  bool records_passes(DitCache& cache) const;
  at::Tensor run_recorded(const BodyPass& pass, const CachedCall& call, DitCache& cache) const;

  WanConfig config_;
  std::shared_ptr<const DitWeights> weights_;
  int64_t identity_;  // of no other model in this process
};

}  // namespace monarch::models
