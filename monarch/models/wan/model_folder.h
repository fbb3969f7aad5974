// Where the parts of a downloaded model are.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/io/checkpoint.h"

namespace monarch::models {

// Paths are empty for parts that the folder lacks. Two layouts:
//   Wan        config.json, diffusion_pytorch_model*.safetensors, Wan2.1_VAE.{safetensors,pth},
//              models_t5_umt5-*.{safetensors,pth}, google/umt5-*/; vae_config.json and
//              text_encoder_config.json where the sizes are not the published ones
//   diffusers  transformer/, vae/, text_encoder/ (config.json and *.safetensors each), tokenizer/
struct ModelFolder {
  std::filesystem::path transformer;  // a folder; open with open_transformer()
  std::filesystem::path vae;          // a file or folder for io::open_checkpoint
  std::filesystem::path text_encoder;
  std::filesystem::path tokenizer;  // a folder for Tokenizer
  // In the keys of WanConfig, VaeConfig and Umt5Config; {} means the published values.
  Json transformer_config = Json::object();
  Json vae_config = Json::object();
  Json text_config = Json::object();
  bool diffusers = false;
  std::vector<std::string> missing;  // what a whole model has and this folder lacks

  // Below the folder, whether it is there or not.
  std::filesystem::path transformer_config_file() const {
    return diffusers ? "transformer/config.json" : "config.json";
  }
  std::shared_ptr<const io::Checkpoint> open_transformer() const;
};

// Reads the small configuration files only. Throws kNotFound if `folder` is no folder, kCorrupt for
// a configuration that is no JSON object. Without `need_transformer` its weights are not missed:
// the caller has others.
ModelFolder find_model(const std::filesystem::path& folder, bool need_transformer = true);

}  // namespace monarch::models
