#include "monarch/models/wan/dit_weights.h"

#include <cmath>
#include <functional>
#include <utility>

#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

// Gives the tensor for a name and the shape the model needs.
using Take = std::function<at::Tensor(const std::string&, const Shape&)>;

LinearWeights take_linear(const Take& take, const std::string& name, int64_t out, int64_t in) {
  return {take(name + ".weight", {out, in}), take(name + ".bias", {out})};
}

AttentionWeights take_attention(const Take& take, const std::string& name, int64_t dim,
                                bool image) {
  const auto square = [&](const char* part) { return take_linear(take, name + part, dim, dim); };
  AttentionWeights w;
  w.q = square(".q");
  w.k = square(".k");
  w.v = square(".v");
  w.o = square(".o");
  w.norm_q = take(name + ".norm_q.weight", {dim});
  w.norm_k = take(name + ".norm_k.weight", {dim});
  if (image) {
    w.k_img = square(".k_img");
    w.v_img = square(".v_img");
    w.norm_k_img = take(name + ".norm_k_img.weight", {dim});
  }
  return w;
}

NormWeights take_norm(const Take& take, const std::string& name, int64_t dim) {
  return {take(name + ".weight", {dim}), take(name + ".bias", {dim})};
}

LayerWeights take_layer(const Take& take, const WanConfig& c, int64_t index) {
  const std::string name = "blocks." + std::to_string(index);
  LayerWeights w;
  w.modulation = take(name + ".modulation", {1, 6, c.dim});
  w.self_attn = take_attention(take, name + ".self_attn", c.dim, /*image=*/false);
  w.cross_attn = take_attention(take, name + ".cross_attn", c.dim, c.image_to_video());
  if (c.cross_attn_norm) w.norm3 = take_norm(take, name + ".norm3", c.dim);
  w.ffn_in = take_linear(take, name + ".ffn.0", c.ffn_dim, c.dim);
  w.ffn_out = take_linear(take, name + ".ffn.2", c.dim, c.ffn_dim);
  return w;
}

DitWeights take_all(const Take& take, const WanConfig& c, int64_t num_layers) {
  const auto [pt, ph, pw] = c.patch_size;
  DitWeights w;
  w.patch_embedding = {take("patch_embedding.weight", {c.dim, c.in_dim, pt, ph, pw}),
                       take("patch_embedding.bias", {c.dim})};
  w.text_in = take_linear(take, "text_embedding.0", c.dim, c.text_dim);
  w.text_out = take_linear(take, "text_embedding.2", c.dim, c.dim);
  w.time_in = take_linear(take, "time_embedding.0", c.dim, c.freq_dim);
  w.time_out = take_linear(take, "time_embedding.2", c.dim, c.dim);
  w.time_projection = take_linear(take, "time_projection.1", 6 * c.dim, c.dim);
  for (int64_t i = 0; i < num_layers; ++i) w.layers.push_back(take_layer(take, c, i));
  w.head_modulation = take("head.modulation", {1, 2, c.dim});
  w.head = take_linear(take, "head.head", pt * ph * pw * c.out_dim, c.dim);
  if (c.image_to_video()) {
    w.image_norm_in = take_norm(take, "img_emb.proj.0", c.clip_dim);
    w.image_in = take_linear(take, "img_emb.proj.1", c.clip_dim, c.clip_dim);
    w.image_out = take_linear(take, "img_emb.proj.3", c.dim, c.clip_dim);
    w.image_norm_out = take_norm(take, "img_emb.proj.4", c.dim);
  }
  return w;
}

at::Tensor random_parameter(const std::string& name, const Shape& shape, const WanConfig& config,
                            std::optional<at::Generator> generator, at::TensorOptions options) {
  const bool weight = name.ends_with(".weight");
  if (name.ends_with("modulation")) {
    return at::randn(shape, generator, options).div_(std::sqrt(static_cast<double>(config.dim)));
  }
  if (name.starts_with("head.head")) return at::zeros(shape, options);
  if (weight && shape.size() == 1) return at::ones(shape, options);  // norms
  const bool embedding = name.starts_with("text_embedding") || name.starts_with("time_embedding");
  if (weight && embedding) return at::randn(shape, generator, options).mul_(0.02);
  int64_t fan_in = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) fan_in *= shape[axis];
  if (weight) {
    const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + shape[0]));
    return at::empty(shape, options).uniform_(-bound, bound, generator);
  }
  if (name == "patch_embedding.bias") {  // a convolution's default
    const auto [pt, ph, pw] = config.patch_size;
    const double bound = 1.0 / std::sqrt(static_cast<double>(config.in_dim * pt * ph * pw));
    return at::empty(shape, options).uniform_(-bound, bound, generator);
  }
  return at::zeros(shape, options);
}

}  // namespace

at::Tensor LinearWeights::operator()(const at::Tensor& x) const { return linear(x, weight, bias); }

DitWeights DitWeights::read(const WanConfig& config, const TensorMap& tensors,
                            std::shared_ptr<LayerSource> source) {
  config.validate();
  WeightReader reader(tensors, "Wan " + config.model_type + " transformer of " +
                                   std::to_string(config.num_layers) + " layers");
  DitWeights weights = take_all(
      [&](const std::string& name, const Shape& shape) { return reader.take(name, shape); }, config,
      source ? 0 : config.num_layers);
  reader.finish();
  weights.source = std::move(source);
  return weights;
}

LayerWeights DitWeights::read_layer(const WanConfig& config, const TensorMap& tensors,
                                    size_t index) {
  WeightReader reader(tensors, "layer " + std::to_string(index) + " of a Wan transformer");
  const LayerWeights weights = take_layer(
      [&](const std::string& name, const Shape& shape) { return reader.take(name, shape); }, config,
      static_cast<int64_t>(index));
  reader.finish();
  return weights;
}

ShapeMap dit_parameter_shapes(const WanConfig& config) {
  config.validate();
  ShapeMap shapes;
  take_all(
      [&](const std::string& name, const Shape& shape) {
        shapes.emplace(name, shape);
        return at::Tensor();
      },
      config, config.num_layers);
  return shapes;
}

TensorMap random_dit_weights(const WanConfig& config, std::optional<at::Generator> generator,
                             at::TensorOptions options) {
  TensorMap tensors;
  for (const auto& [name, shape] : dit_parameter_shapes(config)) {
    tensors.emplace(name, random_parameter(name, shape, config, generator, options));
  }
  return tensors;
}

}  // namespace monarch::models
