#include "monarch/models/wan/wan_names.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "monarch/base/error.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"

namespace monarch::models {
namespace {

// Translates Wan's names to the other distribution, as its conversion script does: longest left
// side first, wherever it occurs.
std::string replace_all(std::string name,
                        const std::vector<std::pair<std::string, std::string>>& rules) {
  for (const auto& [from, to] : rules) {
    if (const size_t at = name.find(from); at != std::string::npos) {
      name.replace(at, from.size(), to);
    }
  }
  return name;
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
  std::map<std::string, std::string> theirs;
  for (const auto& [name, shape] : shapes) {
    theirs[name] =
        replace_all(name, {{"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
                           {"time_embedding.2", "condition_embedder.time_embedder.linear_2"},
                           {"text_embedding.0", "condition_embedder.text_embedder.linear_1"},
                           {"text_embedding.2", "condition_embedder.text_embedder.linear_2"},
                           {"time_projection.1", "condition_embedder.time_proj"},
                           {"head.modulation", "scale_shift_table"},
                           {"head.head", "proj_out"},
                           {"modulation", "scale_shift_table"},
                           {"ffn.0", "ffn.net.0.proj"},
                           {"ffn.2", "ffn.net.2"},
                           {"norm3", "norm2"},
                           {"img_emb.proj.0", "condition_embedder.image_embedder.norm1"},
                           {"img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"},
                           {"img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"},
                           {"img_emb.proj.4", "condition_embedder.image_embedder.norm2"},
                           {"self_attn.norm", "attn1.norm"},
                           {"self_attn.o", "attn1.to_out.0"},
                           {"self_attn.", "attn1.to_"},
                           {"cross_attn.norm_k_img", "attn2.norm_added_k"},
                           {"cross_attn.k_img", "attn2.add_k_proj"},
                           {"cross_attn.v_img", "attn2.add_v_proj"},
                           {"cross_attn.norm", "attn2.norm"},
                           {"cross_attn.o", "attn2.to_out.0"},
                           {"cross_attn.", "attn2.to_"}});
  }
  EXPECT_EQ(theirs.at("blocks.1.self_attn.norm_q.weight"), "blocks.1.attn1.norm_q.weight");
  expect_back(shapes, theirs);
}

TEST(WanNames, DiffusersVae) {
  const VaeConfig config;
  const ShapeMap shapes = parameter_shapes(config);
  const std::map<std::string, std::string> places = {
      {"0", "up_blocks.0.resnets.0"},  {"1", "up_blocks.0.resnets.1"},
      {"2", "up_blocks.0.resnets.2"},  {"3", "up_blocks.0.upsamplers.0"},
      {"4", "up_blocks.1.resnets.0"},  {"5", "up_blocks.1.resnets.1"},
      {"6", "up_blocks.1.resnets.2"},  {"7", "up_blocks.1.upsamplers.0"},
      {"8", "up_blocks.2.resnets.0"},  {"9", "up_blocks.2.resnets.1"},
      {"10", "up_blocks.2.resnets.2"}, {"11", "up_blocks.2.upsamplers.0"},
      {"12", "up_blocks.3.resnets.0"}, {"13", "up_blocks.3.resnets.1"},
      {"14", "up_blocks.3.resnets.2"}};
  std::map<std::string, std::string> theirs;
  for (const auto& [name, shape] : shapes) {
    std::string other = name;
    for (const auto& [number, place] : places) {
      other = replace_all(other, {{"decoder.upsamples." + number + ".", "decoder." + place + "."}});
    }
    other = replace_all(other, {{"encoder.conv1", "encoder.conv_in"},
                                {"decoder.conv1", "decoder.conv_in"},
                                {"downsamples", "down_blocks"},
                                {"middle.0", "mid_block.resnets.0"},
                                {"middle.1", "mid_block.attentions.0"},
                                {"middle.2", "mid_block.resnets.1"},
                                {"residual.0.", "norm1."},
                                {"residual.2.", "conv1."},
                                {"residual.3.", "norm2."},
                                {"residual.6.", "conv2."},
                                {"shortcut", "conv_shortcut"},
                                {"head.0", "norm_out"},
                                {"head.2", "conv_out"}});
    if (name.starts_with("conv1.")) other = "quant_" + name.substr(0, 4) + name.substr(5);
    if (name.starts_with("conv2.")) other = "post_quant_" + name.substr(0, 4) + name.substr(5);
    theirs[name] = other;
  }
  EXPECT_EQ(theirs.at("decoder.upsamples.4.shortcut.weight"),
            "decoder.up_blocks.1.resnets.0.conv_shortcut.weight");
  EXPECT_EQ(theirs.at("conv2.bias"), "post_quant_conv.bias");
  expect_back(shapes, theirs);
}

TEST(WanNames, TransformersUmt5) {
  Umt5Config config;
  config.num_layers = 2;
  const ShapeMap shapes = parameter_shapes(config);
  std::map<std::string, std::string> theirs;
  for (const auto& [name, shape] : shapes) {
    theirs[name] = replace_all(
        name, {{"token_embedding", "shared"},
               {"blocks.", "encoder.block."},
               {"norm1", "layer.0.layer_norm"},
               {"norm2", "layer.1.layer_norm"},
               {"attn.", "layer.0.SelfAttention."},
               {"pos_embedding.embedding", "layer.0.SelfAttention.relative_attention_bias"},
               {"ffn.gate.0", "layer.1.DenseReluDense.wi_0"},
               {"ffn.fc1", "layer.1.DenseReluDense.wi_1"},
               {"ffn.fc2", "layer.1.DenseReluDense.wo"}});
    if (name == "norm.weight") theirs[name] = "encoder.final_layer_norm.weight";
  }
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
