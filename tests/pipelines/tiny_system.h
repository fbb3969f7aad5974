// Models of a few thousand random weights, and a folder with all of them in Wan's layout.
#pragma once

#include <filesystem>
#include <string>

#include "monarch/models/wan/config.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"
#include "monarch/models/wan/weights.h"
#include "tests/support/message_of.h"

namespace monarch::pipelines {

models::WanConfig tiny_config();  // 4 latent channels, context width 16
models::TensorMap tiny_weights(const models::WanConfig& config, int64_t seed = 1);
models::VaeConfig tiny_vae_config();  // 4x in time, 8x in space
models::Umt5Config tiny_text_config();

// Writes config.json, transformer, text encoder, VAE and tokenizer.
void write_tiny_system(const std::filesystem::path& folder);

// The same model in the folders, names and configuration keys of diffusers.
void write_tiny_diffusers_system(const std::filesystem::path& folder);

// A fresh folder below the test's temporary directory.
std::filesystem::path fresh_folder(const std::string& name);

}  // namespace monarch::pipelines
