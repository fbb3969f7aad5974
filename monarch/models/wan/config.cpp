#include "monarch/models/wan/config.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/sequence.h"

namespace monarch::models {
namespace {

// Calls read(key, member) for every key that holds a plain value.
template <typename Config, typename Read>
void for_each_key(Config& config, Read read) {
  read("model_type", config.model_type);
  read("patch_size", config.patch_size);
  read("text_len", config.text_len);
  read("in_dim", config.in_dim);
  read("dim", config.dim);
  read("ffn_dim", config.ffn_dim);
  read("freq_dim", config.freq_dim);
  read("text_dim", config.text_dim);
  read("out_dim", config.out_dim);
  read("num_heads", config.num_heads);
  read("num_layers", config.num_layers);
  read("qk_norm", config.qk_norm);
  read("cross_attn_norm", config.cross_attn_norm);
  read("eps", config.eps);
  read("clip_dim", config.clip_dim);
  read("num_frame_per_block", config.num_frame_per_block);
  read("independent_first_frame", config.independent_first_frame);
  read("local_attn_size", config.local_attn_size);
  read("sink_size", config.sink_size);
  read("relative_sink", config.relative_sink);
}

}  // namespace

const std::vector<std::string>& WanConfig::keys() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found{"monarch", "vmonarch", "attention"};
    WanConfig config;
    for_each_key(config, [&](const char* key, const auto&) { found.emplace_back(key); });
    return found;
  }();
  return names;
}

WanConfig WanConfig::from_json(const Json& json, const std::string& where) {
  WanConfig config;
  OptionsReader reader(json, where);
  for_each_key(config, [&](const char* key, auto& value) { reader.read(key, value); });
  reader.accept("monarch");
  reader.accept("vmonarch");
  reader.accept("attention");
  for (const char* key : {"_class_name", "_diffusers_version", "window_size"}) reader.accept(key);
  reader.finish();
  if (json.contains("monarch")) {
    config.monarch = ops::MonarchOptions::from_json(json.at("monarch"), where + ".monarch");
  }
  if (json.contains("vmonarch")) {
    config.vmonarch = ops::VMonarchOptions::from_json(json.at("vmonarch"), where + ".vmonarch");
  }
  if (json.contains("attention")) {
    config.attention = attention_rules_from_json(json.at("attention"), where + ".attention");
  }
  config.validate();
  return config;
}

void WanConfig::validate() const {
  MONARCH_CHECK(model_type == "t2v" || model_type == "i2v",
                "[monarch_models] model_type must be t2v or i2v, but is '", model_type, "'");
  for (const auto& [key, value] : {std::pair{"dim", dim},
                                   {"ffn_dim", ffn_dim},
                                   {"freq_dim", freq_dim},
                                   {"in_dim", in_dim},
                                   {"out_dim", out_dim},
                                   {"text_dim", text_dim},
                                   {"text_len", text_len},
                                   {"num_heads", num_heads},
                                   {"num_layers", num_layers},
                                   {"clip_dim", clip_dim},
                                   {"num_frame_per_block", num_frame_per_block},
                                   {"patch_size[0]", patch_size[0]},
                                   {"patch_size[1]", patch_size[1]},
                                   {"patch_size[2]", patch_size[2]}}) {
    MONARCH_CHECK(value >= 1, "[monarch_models] ", key, " must be at least 1, but is ", value);
  }
  MONARCH_CHECK(dim % num_heads == 0 && head_dim() % 2 == 0, "[monarch_models] dim ", dim,
                " must split into ", num_heads, " heads of even size");
  MONARCH_CHECK(freq_dim % 2 == 0, "[monarch_models] freq_dim must be even, but is ", freq_dim);
  MONARCH_CHECK(qk_norm,
                "[monarch_models] qk_norm false is not supported: no published model "
                "lacks the q and k norms");
  MONARCH_CHECK(!image_to_video() || in_dim > out_dim,
                "[monarch_models] an i2v model needs "
                "in_dim > out_dim (the image latents are appended); got ",
                in_dim, " and ", out_dim);
  MONARCH_CHECK(local_attn_size == -1 || local_attn_size >= 1,
                "[monarch_models] local_attn_size must be -1 (everything) or at least 1, but is ",
                local_attn_size);
  MONARCH_CHECK(sink_size >= 0, "[monarch_models] sink_size is negative: ", sink_size);
  validate_rules(*this);
  own_heads(*this);
}

}  // namespace monarch::models
