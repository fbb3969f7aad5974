// What the bidirectional and the causal transformer share: everything but the attention pattern.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "monarch/models/wan/cross_attention.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/self_attention.h"

namespace monarch::models {

// What a layer that is recomputed takes from earlier passes and leaves to later ones.
struct LayerMemory {
  std::vector<at::Tensor> past;  // differentiable
  // Appends to `fresh` what `keep` is to get. Owns what it uses, for it is called again later.
  std::function<at::Tensor(const ops::Projections&, const std::vector<at::Tensor>& past,
                           std::vector<at::Tensor>& fresh)>
      attend;
  std::function<void(const std::vector<at::Tensor>& fresh)> keep;
};

// What differs between passes.
struct BodyPass {
  at::Tensor x;          // [B, in_dim, F, H, W] as model_input gives it
  at::Tensor t;          // [B, R]
  at::Tensor rope = {};  // of all tokens, as rope_table gives it; undefined: of the first frames
  std::function<at::Tensor()> context = {};  // as embed_input_context gives it
  // Attends. Owns what it uses: a recomputed layer calls it again later.
  std::function<at::Tensor(size_t layer, const ops::Projections&)> attend;
  // Where a pass without gradients keeps a layer's cross-attention keys for the next one, which
  // then asks for no context; empty: nowhere.
  std::function<CrossKv&(size_t layer)> kept_keys = {};
  // Takes the place of `attend` in recomputed layers; empty: passes depend on nothing before them.
  std::function<LayerMemory(size_t layer)> memory = {};
};

// Checks shapes, appends y. Throws naming the operand.
at::Tensor model_input(const WanConfig& config, const DitInput& input);

// The context as the layers' cross-attention sees it, one row a sample of x.
at::Tensor embed_input_context(const DitWeights& weights, const WanConfig& config,
                               const DitInput& input);

// The flow, [B, out_dim, F, H, W].
at::Tensor run_body(const DitWeights& weights, const WanConfig& config, const BodyPass& pass);

}  // namespace monarch::models
