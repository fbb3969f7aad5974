// Tensor and configuration names of other distributions, translated to those of Wan's own files.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

// Understood are
//   Wan's own names, also inside wrappers (model., _fsdp_wrapped_module.,
//   _checkpoint_wrapped_module.,
//     _orig_mod.);
//   diffusers: WanTransformer3DModel, AutoencoderKLWan;
//   transformers: UMT5EncoderModel, or the encoder of a whole UMT5.
// Returns stored name -> Wan name; "" for tensors that Wan does not use (a second copy of the token
// embedding, UMT5's decoder). Names that no rule knows stay as they are, so that a WeightReader
// reports them. Throws kCorrupt if two tensors get the same name.
std::map<std::string, std::string> wan_names(const std::vector<std::string>& stored);

enum class WanPart { kUnknown, kTransformer, kVae, kTextEncoder };

// Which part a checkpoint is, by the (Wan) names of its tensors.
WanPart wan_part(const std::map<std::string, std::string>& names);
std::string_view wan_part_name(WanPart part);  // "Wan transformer", ...

// The same tensors under Wan's names, without those that it does not use.
TensorMap with_wan_names(const TensorMap& stored);

// config.json of a diffusers or transformers part, in the keys of WanConfig, VaeConfig and
// Umt5Config. Objects that already have Wan's keys come back unchanged.
Json wan_transformer_config(const Json& config);
Json wan_vae_config(const Json& config);
Json wan_text_config(const Json& config);

}  // namespace monarch::models
