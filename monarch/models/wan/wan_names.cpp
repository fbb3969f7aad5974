#include "monarch/models/wan/wan_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

using Parts = std::vector<std::string>;
using Rule = std::pair<std::string_view, std::string_view>;

Parts split(std::string_view name) {
  Parts parts;
  for (size_t begin = 0;;) {
    const size_t dot = name.find('.', begin);
    parts.emplace_back(name.substr(begin, dot - begin));
    if (dot == std::string_view::npos) return parts;
    begin = dot + 1;
  }
}

std::optional<int64_t> number(const std::string& text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = result.ec == std::errc() && result.ptr == text.data() + text.size();
  return whole && value >= 0 ? std::optional(value) : std::nullopt;
}

// The first rule whose left side is `name` up to a dot or the end, applied; nullopt if there is
// none.
template <size_t n>
std::optional<std::string> rename(std::string_view name, const std::array<Rule, n>& rules) {
  for (const auto& [from, to] : rules) {
    if (!name.starts_with(from)) continue;
    const std::string_view rest = name.substr(from.size());
    if (rest.empty() || rest.front() == '.') return std::string(to).append(rest);
  }
  return std::nullopt;
}

std::string without_wrappers(std::string name) {
  for (const std::string_view infix :
       {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."}) {
    for (size_t at; (at = name.find(infix)) != std::string::npos;) name.erase(at, infix.size());
  }
  if (name.starts_with("model.")) name.erase(0, 6);
  return name;
}

// --- diffusers WanTransformer3DModel -------------------------------------------------------------

constexpr std::array<Rule, 11> kTransformer{{
    {"condition_embedder.time_embedder.linear_1", "time_embedding.0"},
    {"condition_embedder.time_embedder.linear_2", "time_embedding.2"},
    {"condition_embedder.time_proj", "time_projection.1"},
    {"condition_embedder.text_embedder.linear_1", "text_embedding.0"},
    {"condition_embedder.text_embedder.linear_2", "text_embedding.2"},
    {"condition_embedder.image_embedder.norm1", "img_emb.proj.0"},
    {"condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"},
    {"condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"},
    {"condition_embedder.image_embedder.norm2", "img_emb.proj.4"},
    {"scale_shift_table", "head.modulation"},
    {"proj_out", "head.head"},
}};

// Of one layer. diffusers numbers the norms in the order of use: its norm2 is Wan's norm3.
constexpr std::array<Rule, 19> kTransformerLayer{{
    {"scale_shift_table", "modulation"},
    {"ffn.net.0.proj", "ffn.0"},
    {"ffn.net.2", "ffn.2"},
    {"norm2", "norm3"},
    {"attn1.to_q", "self_attn.q"},
    {"attn1.to_k", "self_attn.k"},
    {"attn1.to_v", "self_attn.v"},
    {"attn1.to_out.0", "self_attn.o"},
    {"attn1.norm_q", "self_attn.norm_q"},
    {"attn1.norm_k", "self_attn.norm_k"},
    {"attn2.to_q", "cross_attn.q"},
    {"attn2.to_k", "cross_attn.k"},
    {"attn2.to_v", "cross_attn.v"},
    {"attn2.to_out.0", "cross_attn.o"},
    {"attn2.norm_q", "cross_attn.norm_q"},
    {"attn2.norm_k", "cross_attn.norm_k"},
    {"attn2.add_k_proj", "cross_attn.k_img"},
    {"attn2.add_v_proj", "cross_attn.v_img"},
    {"attn2.norm_added_k", "cross_attn.norm_k_img"},
}};

// Splits "<prefix>.<number>.<rest>"; nullopt for other names.
std::optional<std::pair<std::string, std::string>> numbered(std::string_view name,
                                                            std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || !number(std::string(name.substr(0, dot))))
    return std::nullopt;
  return std::pair(std::string(name.substr(0, dot)), std::string(name.substr(dot + 1)));
}

std::string transformer_name(const std::string& name) {
  if (const auto layer = numbered(name, "blocks.")) {
    const auto renamed = rename(layer->second, kTransformerLayer);
    return "blocks." + layer->first + "." + renamed.value_or(layer->second);
  }
  return rename(name, kTransformer).value_or(name);
}

// --- diffusers AutoencoderKLWan ------------------------------------------------------------------

constexpr std::array<Rule, 8> kVae{{
    {"encoder.conv_in", "encoder.conv1"},
    {"decoder.conv_in", "decoder.conv1"},
    {"encoder.norm_out", "encoder.head.0"},
    {"decoder.norm_out", "decoder.head.0"},
    {"encoder.conv_out", "encoder.head.2"},
    {"decoder.conv_out", "decoder.head.2"},
    {"quant_conv", "conv1"},
    {"post_quant_conv", "conv2"},
}};

constexpr std::array<Rule, 5> kVaeResidual{{
    {"norm1", "residual.0"},
    {"conv1", "residual.2"},
    {"norm2", "residual.3"},
    {"conv2", "residual.6"},
    {"conv_shortcut", "shortcut"},
}};

std::string join(const Parts& parts, size_t begin) {
  std::string out;
  for (size_t i = begin; i < parts.size(); ++i) out += (i > begin ? "." : "") + parts[i];
  return out;
}

std::string residual_name(const Parts& parts, size_t begin) {
  const std::string rest = join(parts, begin);
  return rename(rest, kVaeResidual).value_or(rest);
}

// up_blocks.b.resnets.r -> the flat number that Wan gives to residual and resampling blocks.
std::string vae_name(const std::string& name, int64_t resnets_per_block) {
  const Parts parts = split(name);
  if (parts.size() > 4 && parts[1] == "mid_block") {
    const auto index = number(parts[3]);
    if (index && parts[2] == "attentions") return parts[0] + ".middle.1." + join(parts, 4);
    if (index && parts[2] == "resnets") {
      return str_cat(parts[0], ".middle.", *index * 2, ".", residual_name(parts, 4));
    }
  }
  if (parts.size() > 3 && parts[1] == "down_blocks") {
    return parts[0] + ".downsamples." + parts[2] + "." + residual_name(parts, 3);
  }
  if (parts.size() > 5 && parts[1] == "up_blocks" && number(parts[2]) && number(parts[4])) {
    const int64_t first = *number(parts[2]) * (resnets_per_block + 1);
    if (parts[3] == "resnets") {
      return str_cat(parts[0], ".upsamples.", first + *number(parts[4]), ".",
                     residual_name(parts, 5));
    }
    if (parts[3] == "upsamplers") {
      return str_cat(parts[0], ".upsamples.", first + resnets_per_block, ".", join(parts, 5));
    }
  }
  return rename(name, kVae).value_or(name);
}

int64_t count_resnets(const std::vector<std::string>& names) {
  int64_t count = 0;
  for (const std::string& name : names) {
    if (const auto resnet = numbered(name, "decoder.up_blocks.0.resnets.")) {
      count = std::max(count, *number(resnet->first) + 1);
    }
  }
  return count;
}

// --- transformers UMT5 ---------------------------------------------------------------------------

constexpr std::array<Rule, 10> kTextLayer{{
    {"layer.0.layer_norm", "norm1"},
    {"layer.0.SelfAttention.q", "attn.q"},
    {"layer.0.SelfAttention.k", "attn.k"},
    {"layer.0.SelfAttention.v", "attn.v"},
    {"layer.0.SelfAttention.o", "attn.o"},
    {"layer.0.SelfAttention.relative_attention_bias", "pos_embedding.embedding"},
    {"layer.1.layer_norm", "norm2"},
    {"layer.1.DenseReluDense.wi_0", "ffn.gate.0"},
    {"layer.1.DenseReluDense.wi_1", "ffn.fc1"},
    {"layer.1.DenseReluDense.wo", "ffn.fc2"},
}};

std::string text_name(const std::string& name, bool has_shared) {
  if (const auto layer = numbered(name, "encoder.block.")) {
    const auto renamed = rename(layer->second, kTextLayer);
    return renamed ? "blocks." + layer->first + "." + *renamed : name;
  }
  if (name == "shared.weight") return "token_embedding.weight";
  if (name == "encoder.embed_tokens.weight") return has_shared ? "" : "token_embedding.weight";
  if (name == "encoder.final_layer_norm.weight") return "norm.weight";
  if (name.starts_with("decoder.") || name == "lm_head.weight") return "";
  return name;
}

}  // namespace

std::map<std::string, std::string> wan_names(const std::vector<std::string>& stored) {
  std::vector<std::string> names;
  for (const std::string& name : stored) names.push_back(without_wrappers(name));
  const auto any = [&](auto test) { return std::any_of(names.begin(), names.end(), test); };
  const auto starts = [](std::string_view prefix) {
    return [prefix](const std::string& name) { return name.starts_with(prefix); };
  };
  const bool transformer = any(starts("condition_embedder."));
  const bool vae = any(starts("encoder.conv_in.")) || any(starts("decoder.conv_in."));
  const bool text = any(starts("encoder.block."));
  const bool has_shared = any(starts("shared.weight"));
  const int64_t resnets = vae ? count_resnets(names) : 0;

  std::map<std::string, std::string> renamed;
  std::set<std::string> taken;
  for (size_t i = 0; i < stored.size(); ++i) {
    std::string name = transformer ? transformer_name(names[i])
                       : vae       ? vae_name(names[i], resnets)
                       : text      ? text_name(names[i], has_shared)
                                   : names[i];
    MONARCH_CHECK_CODE(name.empty() || taken.insert(name).second, kCorrupt,
                       "[monarch_models] two tensors of the checkpoint are '", name,
                       "' in Wan's names; the second is stored as '", stored[i], "'");
    renamed.emplace(stored[i], std::move(name));
  }
  return renamed;
}

WanPart wan_part(const std::map<std::string, std::string>& names) {
  const auto has = [&](std::string_view wan) {
    return std::any_of(names.begin(), names.end(),
                       [&](const auto& item) { return item.second == wan; });
  };
  if (has("patch_embedding.weight")) return WanPart::kTransformer;
  if (has("token_embedding.weight")) return WanPart::kTextEncoder;
  if (has("decoder.conv1.weight") || has("encoder.conv1.weight")) return WanPart::kVae;
  return WanPart::kUnknown;
}

std::string_view wan_part_name(WanPart part) {
  switch (part) {
    case WanPart::kTransformer: return "Wan transformer";
    case WanPart::kVae: return "Wan VAE";
    case WanPart::kTextEncoder: return "UMT5 text encoder";
    case WanPart::kUnknown: break;
  }
  return "unknown";
}

TensorMap with_wan_names(const TensorMap& stored) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : stored) names.push_back(name);
  const auto renamed = wan_names(names);
  TensorMap result;
  for (const auto& [name, tensor] : stored) {
    if (const std::string& wan = renamed.at(name); !wan.empty()) result.emplace(wan, tensor);
  }
  return result;
}

}  // namespace monarch::models
