// Wan's parameter names as other distributions write them: the way back from
// models/wan/wan_names.h.
#pragma once

#include <cstdint>
#include <string>

namespace monarch::models {

std::string diffusers_transformer_name(const std::string& wan);
std::string diffusers_vae_name(const std::string& wan, std::int64_t num_res_blocks);
std::string transformers_umt5_name(const std::string& wan);

}  // namespace monarch::models
