// config.json of diffusers and transformers in Wan's keys.
#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::models {
namespace {

// Copies the keys that are present, under Wan's names.
Json translate(const Json& config,
               std::initializer_list<std::pair<const char*, const char*>> keys) {
  Json result = Json::object();
  for (const auto& [theirs, ours] : keys) {
    if (const auto found = config.find(theirs); found != config.end() && !found->is_null()) {
      result[ours] = *found;
    }
  }
  return result;
}

int64_t integer(const Json& config, const char* key) {
  const auto found = config.find(key);
  MONARCH_CHECK(found != config.end() && found->is_number_integer(), "[config] ", key,
                " is missing or not an integer in config.json");
  return found->get<int64_t>();
}

}  // namespace

Json wan_transformer_config(const Json& config) {
  if (!config.contains("num_attention_heads")) return config;
  Json result = translate(config, {{"patch_size", "patch_size"},
                                   {"num_attention_heads", "num_heads"},
                                   {"in_channels", "in_dim"},
                                   {"out_channels", "out_dim"},
                                   {"text_dim", "text_dim"},
                                   {"freq_dim", "freq_dim"},
                                   {"ffn_dim", "ffn_dim"},
                                   {"num_layers", "num_layers"},
                                   {"cross_attn_norm", "cross_attn_norm"},
                                   {"eps", "eps"},
                                   {"image_dim", "clip_dim"},
                                   {"monarch", "monarch"},
                                   {"vmonarch", "vmonarch"},
                                   {"attention", "attention"}});
  result["dim"] = integer(config, "num_attention_heads") * integer(config, "attention_head_dim");
  result["model_type"] = result.contains("clip_dim") ? "i2v" : "t2v";
  if (const auto norm = config.find("qk_norm"); norm != config.end()) {
    MONARCH_CHECK(norm->is_null() || *norm == "rms_norm_across_heads", "[config] qk_norm ",
                  norm->dump(), " is not supported; rms_norm_across_heads is");
    result["qk_norm"] = !norm->is_null();
  }
  return result;
}

Json wan_vae_config(const Json& config) {
  if (!config.contains("base_dim")) return config;
  MONARCH_CHECK(!config.value("is_residual", false),
                "[config] the VAE of Wan2.2 (is_residual) is not supported; Wan2.1's is");
  return translate(config, {{"base_dim", "dim"},
                            {"z_dim", "z_dim"},
                            {"dim_mult", "dim_mult"},
                            {"num_res_blocks", "num_res_blocks"},
                            {"attn_scales", "attn_scales"},
                            {"temperal_downsample", "temperal_downsample"},
                            {"latents_mean", "latent_mean"},
                            {"latents_std", "latent_std"}});
}

Json wan_text_config(const Json& config) {
  if (!config.contains("d_model")) return config;
  Json result = translate(config, {{"vocab_size", "vocab_size"},
                                   {"d_model", "dim"},
                                   {"d_ff", "dim_ffn"},
                                   {"num_heads", "num_heads"},
                                   {"num_layers", "num_layers"},
                                   {"relative_attention_num_buckets", "num_buckets"},
                                   {"relative_attention_max_distance", "max_dist"},
                                   {"layer_norm_epsilon", "eps"}});
  result["dim_attn"] = integer(config, "d_kv") * integer(config, "num_heads");
  return result;
}

}  // namespace monarch::models
