// The transformer's parameters, by name in checkpoints and by place in the model.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <vector>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

struct LinearWeights {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]

  at::Tensor operator()(const at::Tensor& x) const;  // [..., in] -> [..., out]
};

struct NormWeights {
  at::Tensor weight;
  at::Tensor bias;  // undefined for RMS norms
};

struct AttentionWeights {
  LinearWeights q, k, v, o;
  at::Tensor norm_q, norm_k;  // [dim]
  // cross-attention of i2v models: keys and values of the image tokens
  LinearWeights k_img, v_img;
  at::Tensor norm_k_img;
};

struct LayerWeights {
  at::Tensor modulation;  // [1, 6, dim]
  AttentionWeights self_attn, cross_attn;
  std::optional<NormWeights> norm3;
  LinearWeights ffn_in, ffn_out;
};

class LayerSource;

struct DitWeights {
  LinearWeights patch_embedding;  // weight [dim, in_dim, pt, ph, pw]
  LinearWeights text_in, text_out, time_in, time_out, time_projection;
  std::vector<LayerWeights> layers;
  std::shared_ptr<LayerSource> source;  // of the layers, which are then empty
  at::Tensor head_modulation;           // [1, 2, dim]
  LinearWeights head;
  // i2v: layer norm, linear, linear, layer norm
  NormWeights image_norm_in, image_norm_out;
  LinearWeights image_in, image_out;

  // Shares memory with `tensors`, which has no layers if `source` gives them. Throws one error that
  // lists every missing, misshapen and unused tensor.
  static DitWeights read(const WanConfig& config, const TensorMap& tensors,
                         std::shared_ptr<LayerSource> source = nullptr);
  // Of one layer; throws naming what is missing or misshapen.
  static LayerWeights read_layer(const WanConfig& config, const TensorMap& tensors, size_t index);
};

// Name and shape of every parameter, as in published checkpoints.
ShapeMap dit_parameter_shapes(const WanConfig& config);

// Parameters to start training from: Xavier-uniform linears with zero bias, normal(0.02) text and
// time embeddings, modulations normal / sqrt(dim), an output layer of zeros.
TensorMap random_dit_weights(const WanConfig& config, std::optional<at::Generator> generator = {},
                             at::TensorOptions options = at::kFloat);

}  // namespace monarch::models
