#include "tests/models/other_names.h"

#include <utility>
#include <vector>

namespace monarch::models {
namespace {

// As the conversion scripts do: rule after rule, wherever its left side occurs.
std::string replace_all(std::string name,
                        const std::vector<std::pair<std::string, std::string>>& rules) {
  for (const auto& [from, to] : rules) {
    if (const size_t at = name.find(from); at != std::string::npos) {
      name.replace(at, from.size(), to);
    }
  }
  return name;
}

}  // namespace

std::string diffusers_transformer_name(const std::string& wan) {
  return replace_all(wan, {{"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
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

std::string diffusers_vae_name(const std::string& wan, std::int64_t num_res_blocks) {
  if (wan.starts_with("conv1.")) return "quant_conv." + wan.substr(6);
  if (wan.starts_with("conv2.")) return "post_quant_conv." + wan.substr(6);
  std::string name = wan;
  // Wan counts residual and upsampling blocks through; the first stages end in an upsampling one.
  const std::string flat = "decoder.upsamples.";
  if (name.starts_with(flat)) {
    std::size_t digits = 0;
    const std::int64_t index = std::stoll(name.substr(flat.size()), &digits);
    const std::int64_t resnets = num_res_blocks + 1;
    const std::int64_t place = index % (resnets + 1);
    name = "decoder.up_blocks." + std::to_string(index / (resnets + 1)) +
           (place < resnets ? ".resnets." + std::to_string(place) : ".upsamplers.0") +
           name.substr(flat.size() + digits);
  }
  return replace_all(name, {{"encoder.conv1", "encoder.conv_in"},
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
}

std::string transformers_umt5_name(const std::string& wan) {
  if (wan == "norm.weight") return "encoder.final_layer_norm.weight";
  return replace_all(wan,
                     {{"token_embedding", "shared"},
                      {"blocks.", "encoder.block."},
                      {"norm1", "layer.0.layer_norm"},
                      {"norm2", "layer.1.layer_norm"},
                      {"attn.", "layer.0.SelfAttention."},
                      {"pos_embedding.embedding", "layer.0.SelfAttention.relative_attention_bias"},
                      {"ffn.gate.0", "layer.1.DenseReluDense.wi_0"},
                      {"ffn.fc1", "layer.1.DenseReluDense.wi_1"},
                      {"ffn.fc2", "layer.1.DenseReluDense.wo"}});
}

}  // namespace monarch::models
