// The Wan2.1 diffusion transformer: every token sees every token.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <optional>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"

namespace monarch::models {

// Operands of a forward pass. x decides type and device of the computation; weights may be stored
// in another floating type.
struct DitInput {
  at::Tensor x;              // [B, C, F, H, W]: C = in_dim, or with y in_dim - channels of y
  at::Tensor t;              // [B] or [B, R], 0..1000: R = 1 or (causal) one timestep a token frame
  at::Tensor context;        // [B or 1, L, text_dim], L <= text_len
  at::Tensor y = {};         // i2v: [B, in_dim - out_dim, F, H, W], appended to x's channels
  at::Tensor clip_fea = {};  // i2v: [B, 257, clip_dim]
  int64_t step = -1;         // of the denoising steps, for attention rules that ask; -1: none
};

class WanDit {
 public:
  // Shares the tensors of `weights`: in-place updates by an optimiser take effect. `source` gives
  // those of the layers if they are not among them. Throws one error that lists all missing,
  // misshapen and unused tensors.
  WanDit(const WanConfig& config, const TensorMap& weights,
         std::shared_ptr<LayerSource> source = nullptr);

  // The flow, [B, out_dim, F, H, W]. Differentiable in all inputs but t, and in all weights that
  // require gradients. Const and thread-safe. With config.sequence the gradients of weights and
  // context are parts, to be added up over its ranks.
  at::Tensor forward(const DitInput& input) const;

  const WanConfig& config() const { return config_; }
  const DitWeights& weights() const { return *weights_; }
  static ShapeMap parameter_shapes(const WanConfig& config) { return dit_parameter_shapes(config); }

 private:
  WanConfig config_;
  std::shared_ptr<const DitWeights> weights_;
};

}  // namespace monarch::models
