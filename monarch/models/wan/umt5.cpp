#include "monarch/models/wan/umt5.h"

#include <cmath>
#include <limits>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

// x * rsqrt(mean(x^2) + eps) * weight; the statistics in float32.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const at::Tensor scale = (wide.square().mean(-1, /*keepdim=*/true) + eps).rsqrt();
  return (wide * scale).to(x.scalar_type()) * weight.to(x.scalar_type());
}

// x W^T for W [out, in] in whatever type it is stored.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight) {
  return at::linear(x, weight.to(x.scalar_type()));
}

// Activations of XXL leave the range of float16 in the residual stream; the original clamps them
// too.
at::Tensor add_residual(const at::Tensor& x, const at::Tensor& update) {
  constexpr double kHalfLimit = 65504.0 - 1000.0;
  const at::Tensor sum = x + update;
  return sum.scalar_type() == at::kHalf ? sum.clamp(-kHalfLimit, kHalfLimit) : sum;
}

// What is added to the logits: [1 or B, num_heads, L, L].
at::Tensor position_bias(const at::Tensor& table,    // [num_buckets, num_heads]
                         const at::Tensor& buckets,  // [L, L]
                         const at::Tensor& padding,  // [B, 1, 1, L] bool, or undefined: no padding
                         at::ScalarType type) {
  const at::Tensor bias = at::embedding(table, buckets).to(type).permute({2, 0, 1}).unsqueeze(0);
  if (!padding.defined()) return bias;
  return bias.masked_fill(padding, type == at::kHalf ? -65504.0
                                   : type == at::kBFloat16
                                       ? -3.3895313892515355e38
                                       : static_cast<double>(std::numeric_limits<float>::lowest()));
}

}  // namespace

at::Tensor t5_relative_position_bucket(const at::Tensor& relative_position, int64_t num_buckets,
                                       int64_t max_dist, bool bidirectional) {
  at::Tensor distance, offset;
  if (bidirectional) {
    num_buckets /= 2;
    offset = relative_position.gt(0).to(at::kLong) * num_buckets;
    distance = relative_position.abs();
  } else {
    offset = at::zeros_like(relative_position);
    distance = relative_position.neg().clamp_min(0);
  }
  const int64_t num_exact = num_buckets / 2;
  const double log_range = std::log(static_cast<double>(max_dist) / static_cast<double>(num_exact));
  const at::Tensor steps = at::log(distance.to(at::kFloat) / static_cast<double>(num_exact)) /
                           log_range * static_cast<double>(num_buckets - num_exact);
  // Distance 0 gives minus infinity; it is exact, so any bucket will do for it here.
  const at::Tensor large =
      (num_exact + steps.clamp_min(0).to(at::kLong)).clamp_max(num_buckets - 1);
  return offset + at::where(distance < num_exact, distance, large);
}

Umt5Encoder::Umt5Encoder(Umt5Config config, const TensorMap& parameters,
                         at::ScalarType compute_type)
    : config_(std::move(config)), compute_type_(compute_type) {
  config_.validate();
  WeightReader reader(parameters, "UMT5 encoder");
  const Shape vector = {config_.dim};
  const Shape to_heads = {config_.dim_attn, config_.dim};
  const Shape table = {config_.num_buckets, config_.num_heads};
  embedding_ = reader.take("token_embedding.weight", {config_.vocab_size, config_.dim});
  at::Tensor shared_table;
  if (config_.shared_pos) shared_table = reader.take("pos_embedding.embedding.weight", table);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const std::string block = str_cat("blocks.", i, ".");
    Layer layer;
    layer.norm1 = reader.take(block + "norm1.weight", vector);
    layer.q = reader.take(block + "attn.q.weight", to_heads);
    layer.k = reader.take(block + "attn.k.weight", to_heads);
    layer.v = reader.take(block + "attn.v.weight", to_heads);
    layer.o = reader.take(block + "attn.o.weight", {config_.dim, config_.dim_attn});
    layer.norm2 = reader.take(block + "norm2.weight", vector);
    layer.gate = reader.take(block + "ffn.gate.0.weight", {config_.dim_ffn, config_.dim});
    layer.fc1 = reader.take(block + "ffn.fc1.weight", {config_.dim_ffn, config_.dim});
    layer.fc2 = reader.take(block + "ffn.fc2.weight", {config_.dim, config_.dim_ffn});
    layer.position = config_.shared_pos
                         ? shared_table
                         : reader.take(block + "pos_embedding.embedding.weight", table);
    layers_.push_back(std::move(layer));
  }
  norm_ = reader.take("norm.weight", vector);
  reader.finish();
}

at::Tensor Umt5Encoder::attend(const Layer& layer, const at::Tensor& x,
                               const at::Tensor& bias) const {
  const auto heads = [&](const at::Tensor& weight) {  // [B, L, dim] -> [B, N, L, D]
    return project(x, weight).view({x.size(0), x.size(1), config_.num_heads, -1}).transpose(1, 2);
  };
  const at::Tensor mixed =
      at::scaled_dot_product_attention(heads(layer.q), heads(layer.k), heads(layer.v), bias,
                                       /*dropout_p=*/0.0, /*is_causal=*/false, /*scale=*/1.0);
  return project(mixed.transpose(1, 2).flatten(2), layer.o);
}

at::Tensor Umt5Encoder::encode(const at::Tensor& ids, const at::Tensor& mask) const {
  MONARCH_CHECK(ids.dim() == 2 && ids.numel() > 0 && ids.sizes() == mask.sizes(),
                "[monarch_models] the text encoder takes ids and mask of one shape [B, L]; got ",
                shape_string(ids.sizes()), " and ", shape_string(mask.sizes()));
  const auto [lowest, highest] = at::aminmax(ids);
  MONARCH_CHECK(lowest.item<int64_t>() >= 0 && highest.item<int64_t>() < config_.vocab_size,
                "[monarch_models] token ids must be in [0, ", config_.vocab_size, "); got ",
                lowest.item<int64_t>(), " to ", highest.item<int64_t>(),
                "; is this the tokenizer of another model?");
  const at::Device device = embedding_.device();
  const at::Tensor positions =
      at::arange(ids.size(1), at::TensorOptions().dtype(at::kLong).device(device));
  const at::Tensor buckets = t5_relative_position_bucket(
      positions.unsqueeze(0) - positions.unsqueeze(1), config_.num_buckets, config_.max_dist);
  at::Tensor padding = mask.to(device).eq(0).view({mask.size(0), 1, 1, mask.size(1)});
  if (!padding.any().item<bool>()) padding.reset();

  at::Tensor x = at::embedding(embedding_, ids.to(device)).to(compute_type_);  // [B, L, dim]
  at::Tensor bias;
  for (const Layer& layer : layers_) {
    if (!bias.defined() || !config_.shared_pos) {
      bias = position_bias(layer.position, buckets, padding, compute_type_);
    }
    x = add_residual(x, attend(layer, rms_norm(x, layer.norm1, config_.eps), bias));
    const at::Tensor normed = rms_norm(x, layer.norm2, config_.eps);
    const at::Tensor gated =
        project(normed, layer.fc1) * at::gelu(project(normed, layer.gate), "tanh");
    x = add_residual(x, project(gated, layer.fc2));
  }
  return rms_norm(x, norm_, config_.eps);
}

at::Tensor Umt5Encoder::embeds(const at::Tensor& ids, const at::Tensor& mask) const {
  MONARCH_CHECK(ids.dim() == 2 && ids.sizes() == mask.sizes(),
                "[monarch_models] the text encoder takes ids and mask of one shape [B, L]; got ",
                shape_string(ids.sizes()), " and ", shape_string(mask.sizes()));
  // Padding is invisible to the prompt's tokens, so columns that are padding in every row are left
  // out.
  const at::Tensor used = mask.ne(0).any(0).nonzero();
  const int64_t length = used.numel() > 0 ? used.max().item<int64_t>() + 1 : 1;
  const at::Tensor hidden = encode(ids.narrow(1, 0, length), mask.narrow(1, 0, length));
  const at::Tensor positions = at::arange(length, hidden.options().dtype(at::kLong));
  const at::Tensor lengths = mask.ne(0).sum(1, /*keepdim=*/true).to(hidden.device());  // [B, 1]
  const at::Tensor kept = at::where((positions.unsqueeze(0) < lengths).unsqueeze(-1), hidden,
                                    at::zeros({}, hidden.options()));
  return at::constant_pad_nd(kept, {0, 0, 0, ids.size(1) - length});
}

}  // namespace monarch::models
