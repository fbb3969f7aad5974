// The UMT5 text encoder: token ids -> hidden states that the video transformer reads as context.
//
// x = embedding; each layer: x += o(attn(norm1(x))); x += fc2(fc1(n) * gelu_tanh(gate(n))) with n =
// norm2(x); final norm. No biases. Attention has no 1/sqrt scale and adds a learned bias per bucket
// of relative position and head.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

// Defaults: the encoder of UMT5-XXL as published with Wan2.1.
struct Umt5Config {
  int64_t vocab_size = 256384;
  int64_t dim = 4096;
  int64_t dim_attn = 4096;  // of all heads together
  int64_t dim_ffn = 10240;
  int64_t num_heads = 64;
  int64_t num_layers = 24;
  int64_t num_buckets = 32;
  int64_t max_dist = 128;   // relative positions beyond share the last bucket
  bool shared_pos = false;  // one position table for all layers instead of one each
  double eps = 1e-6;
  int64_t seq_len = 512;  // what the tokenizer pads to; the encoder takes any length

  // Missing keys keep the published values; unknown keys are errors.
  static Umt5Config from_json(const Json& json);
  Json to_json() const;
  void validate() const;
};

// Names and shapes of the parameters, as in models_t5_umt5-xxl-enc-bf16.pth.
ShapeMap parameter_shapes(const Umt5Config& config);

// Float32 parameters to train from, normal with T5's deviations. Same seed, same bits.
TensorMap random_parameters(const Umt5Config& config, uint64_t seed);

// Bucket of each relative position (key index - query index), int64 -> int64. Float32 arithmetic in
// the original's order: powers of two lie on the edges of buckets.
at::Tensor t5_relative_position_bucket(const at::Tensor& relative_position, int64_t num_buckets,
                                       int64_t max_dist, bool bidirectional = true);

// Const and shareable between threads. Parameters stay where and as they are stored - bfloat16
// mapped from an 11 GB file, say - and each matrix is converted to `compute_type` only while it is
// used; of the token embedding only the rows of the prompt are read. Differentiable in the
// parameters.
class Umt5Encoder {
 public:
  // Throws one error listing every missing, misshapen and unknown parameter.
  Umt5Encoder(Umt5Config config, const TensorMap& parameters,
              at::ScalarType compute_type = at::kFloat);

  // Hidden states [B, L, dim] of all positions, those of padding included, for ids [B, L] and mask
  // [B, L] (int64; mask is 1 for the prompt, 0 for padding).
  at::Tensor encode(const at::Tensor& ids, const at::Tensor& mask) const;

  // What the video transformer receives: encode() with the rows from the prompt's length on set to
  // zero. Padding is not computed, so a short prompt takes a fraction of the time.
  at::Tensor embeds(const at::Tensor& ids, const at::Tensor& mask) const;

  const Umt5Config& config() const { return config_; }

 private:
  struct Layer {
    at::Tensor norm1, q, k, v, o, norm2, gate, fc1, fc2;
    at::Tensor position;  // [num_buckets, num_heads]
  };
  at::Tensor attend(const Layer& layer, const at::Tensor& x, const at::Tensor& bias) const;

  Umt5Config config_;
  at::ScalarType compute_type_;
  at::Tensor embedding_, norm_;
  std::vector<Layer> layers_;
};

}  // namespace monarch::models
