#include "monarch/models/wan/wan_names.h"

#include <gtest/gtest.h>

#include <functional>

#include "monarch/base/error.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"
#include "tests/models/other_names.h"

namespace monarch::models {
namespace {

// Wan's name -> the other distribution's.
std::map<std::string, std::string> renamed(
    const ShapeMap& shapes, const std::function<std::string(const std::string&)>& rename) {
  std::map<std::string, std::string> theirs;
  for (const auto& [name, shape] : shapes) theirs[name] = rename(name);
  return theirs;
}

void expect_back(const ShapeMap& shapes, const std::map<std::string, std::string>& theirs) {
  std::vector<std::string> stored;
  for (const auto& [wan, other] : theirs) stored.push_back(other);
  const auto names = wan_names(stored);
  ASSERT_EQ(theirs.size(), shapes.size());
  for (const auto& [wan, other] : theirs) EXPECT_EQ(names.at(other), wan) << other;
}

TEST(WanNames, StripsWrappers) {
  const auto names = wan_names(
      {"model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.self_attn.q.weight",
       "_orig_mod.head.head.bias", "patch_embedding.weight"});
  EXPECT_EQ(names.begin()->second, "head.head.bias");
  EXPECT_EQ(names.at("model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.self_attn.q."
                     "weight"),
            "blocks.0.self_attn.q.weight");
  EXPECT_EQ(names.at("patch_embedding.weight"), "patch_embedding.weight");
  EXPECT_THROW(wan_names({"model.a", "a"}), Error);
}

TEST(WanNames, DiffusersTransformer) {
  WanConfig config;
  config.model_type = "i2v";
  config.in_dim = 36;
  config.num_layers = 2;
  const ShapeMap shapes = dit_parameter_shapes(config);
  const auto theirs = renamed(shapes, diffusers_transformer_name);
  EXPECT_EQ(theirs.at("blocks.1.self_attn.norm_q.weight"), "blocks.1.attn1.norm_q.weight");
  expect_back(shapes, theirs);
}

TEST(WanNames, DiffusersVae) {
  const VaeConfig config;
  const ShapeMap shapes = parameter_shapes(config);
  const auto theirs = renamed(shapes, [&](const std::string& name) {
    return diffusers_vae_name(name, config.num_res_blocks);
  });
  EXPECT_EQ(theirs.at("decoder.upsamples.4.shortcut.weight"),
            "decoder.up_blocks.1.resnets.0.conv_shortcut.weight");
  EXPECT_EQ(theirs.at("conv2.bias"), "post_quant_conv.bias");
  expect_back(shapes, theirs);
}

TEST(WanNames, TransformersUmt5) {
  Umt5Config config;
  config.num_layers = 2;
  const ShapeMap shapes = parameter_shapes(config);
  const auto theirs = renamed(shapes, transformers_umt5_name);
  EXPECT_EQ(theirs.at("blocks.1.ffn.fc1.weight"),
            "encoder.block.1.layer.1.DenseReluDense.wi_1.weight");
  expect_back(shapes, theirs);
  const auto whole = wan_names({"shared.weight", "encoder.embed_tokens.weight", "lm_head.weight",
                                "encoder.block.0.layer.0.layer_norm.weight",
                                "decoder.block.0.layer.0.layer_norm.weight"});
  EXPECT_EQ(whole.at("encoder.embed_tokens.weight"), "");
  EXPECT_EQ(whole.at("decoder.block.0.layer.0.layer_norm.weight"), "");
  EXPECT_EQ(whole.at("lm_head.weight"), "");
}

TEST(WanNames, TranslatesConfigs) {
  const WanConfig dit = WanConfig::from_json(wan_transformer_config(Json::parse(R"({
      "_class_name": "WanTransformer3DModel", "_diffusers_version": "0.33.0", "added_kv_proj_dim": null,
      "attention_head_dim": 128, "cross_attn_norm": true, "eps": 1e-06, "ffn_dim": 8960, "freq_dim": 256,
      "image_dim": null, "in_channels": 16, "num_attention_heads": 12, "num_layers": 30, "out_channels": 16,
      "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024, "text_dim": 4096})")));
  EXPECT_EQ(dit.dim, 1536);
  EXPECT_EQ(dit.model_type, "t2v");
  const Json vae = wan_vae_config(Json::parse(
      R"({"base_dim": 96, "z_dim": 16, "dim_mult": [1,2,4,4], "dropout": 0.0, "latents_mean": [1.5]})"));
  EXPECT_EQ(vae, Json::parse(R"({"dim":96,"z_dim":16,"dim_mult":[1,2,4,4],"latent_mean":[1.5]})"));
  const Umt5Config text = Umt5Config::from_json(wan_text_config(Json::parse(
      R"({"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24, "vocab_size": 256384,
          "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
          "layer_norm_epsilon": 1e-06, "model_type": "umt5"})")));
  EXPECT_EQ(text.dim_attn, 4096);
  const Json own = {{"dim", 1536}};
  EXPECT_EQ(wan_transformer_config(own), own);
}

}  // namespace
}  // namespace monarch::models
