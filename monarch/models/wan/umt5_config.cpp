#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/models/wan/umt5.h"

namespace monarch::models {

Umt5Config Umt5Config::from_json(const Json& json) {
  Umt5Config config;
  OptionsReader reader(json, "umt5");
  reader.read("vocab_size", config.vocab_size);
  reader.read("dim", config.dim);
  reader.read("dim_attn", config.dim_attn);
  reader.read("dim_ffn", config.dim_ffn);
  reader.read("num_heads", config.num_heads);
  reader.read("num_layers", config.num_layers);
  reader.read("num_buckets", config.num_buckets);
  reader.read("max_dist", config.max_dist);
  reader.read("shared_pos", config.shared_pos);
  reader.read("eps", config.eps);
  reader.read("seq_len", config.seq_len);
  reader.finish();
  config.validate();
  return config;
}

Json Umt5Config::to_json() const {
  return {{"vocab_size", vocab_size},   {"dim", dim},
          {"dim_attn", dim_attn},       {"dim_ffn", dim_ffn},
          {"num_heads", num_heads},     {"num_layers", num_layers},
          {"num_buckets", num_buckets}, {"max_dist", max_dist},
          {"shared_pos", shared_pos},   {"eps", eps},
          {"seq_len", seq_len}};
}

void Umt5Config::validate() const {
  MONARCH_CHECK(vocab_size > 0 && dim > 0 && dim_ffn > 0 && num_layers > 0 && seq_len > 0,
                "[config] umt5.vocab_size, dim, dim_ffn, num_layers and seq_len must be positive");
  MONARCH_CHECK(num_heads > 0 && dim_attn > 0 && dim_attn % num_heads == 0,
                "[config] umt5.dim_attn ", dim_attn, " must be a positive multiple of num_heads ",
                num_heads);
  MONARCH_CHECK(num_buckets >= 4 && num_buckets % 4 == 0,
                "[config] umt5.num_buckets must be a multiple of 4; got ", num_buckets);
  MONARCH_CHECK(max_dist > num_buckets / 4,
                "[config] umt5.max_dist must exceed num_buckets / 4 = ", num_buckets / 4, "; got ",
                max_dist);
}

ShapeMap parameter_shapes(const Umt5Config& config) {
  ShapeMap shapes;
  const Shape table = {config.num_buckets, config.num_heads};
  shapes["token_embedding.weight"] = {config.vocab_size, config.dim};
  shapes["norm.weight"] = {config.dim};
  if (config.shared_pos) shapes["pos_embedding.embedding.weight"] = table;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string block = str_cat("blocks.", i, ".");
    for (const char* name : {"norm1.weight", "norm2.weight"}) shapes[block + name] = {config.dim};
    for (const char* name : {"attn.q.weight", "attn.k.weight", "attn.v.weight"}) {
      shapes[block + name] = {config.dim_attn, config.dim};
    }
    shapes[block + "attn.o.weight"] = {config.dim, config.dim_attn};
    for (const char* name : {"ffn.gate.0.weight", "ffn.fc1.weight"})
      shapes[block + name] = {config.dim_ffn, config.dim};
    shapes[block + "ffn.fc2.weight"] = {config.dim, config.dim_ffn};
    if (!config.shared_pos) shapes[block + "pos_embedding.embedding.weight"] = table;
  }
  return shapes;
}

TensorMap random_parameters(const Umt5Config& config, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  TensorMap parameters;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    at::Tensor& tensor = parameters[name] = at::ones(shape, at::kFloat);
    if (shape.size() == 1) continue;                        // norms
    double variance = 1.0 / static_cast<double>(shape[1]);  // of the inputs
    if (name == "token_embedding.weight") {
      variance = 1.0;
    } else if (name.ends_with("attn.q.weight")) {
      variance = 1.0 / static_cast<double>(config.dim * config.dim_attn);
    } else if (name.ends_with("attn.o.weight")) {
      variance = 1.0 / static_cast<double>(config.num_heads * config.dim_attn);
    } else if (name.ends_with("pos_embedding.embedding.weight")) {
      variance = 1.0 / static_cast<double>(2 * config.num_buckets * config.num_heads);
    }
    tensor.normal_(0.0, std::sqrt(variance), generator);
  }
  return parameters;
}

}  // namespace monarch::models
