// A Wan model on disk: tokenizer, text encoder, transformer and VAE of one folder, loaded when they
// are needed.
//
//   config.json                                        transformer hyperparameters
//   diffusion_pytorch_model*.safetensors               transformer, one file or shards (with index)
//   models_t5_umt5-*.safetensors or .pth               text encoder
//   Wan2.1_VAE.safetensors or .pth                     video VAE
//   google/umt5-*/spiece.model (and tokenizer.json)    tokenizer
//   text_encoder_config.json, vae_config.json          optional: hyperparameters of unpublished
//   sizes
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/generator_checkpoint.h"
#include "monarch/models/wan/tokenizer.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"

namespace monarch::pipelines {

struct WanSystemOptions {
  at::ScalarType dtype = at::kFloat;  // of the computation and of the loaded weights
  at::Device device = at::kCPU;
  // Nothing is kept: each network is loaded for its stage and freed with the last reference to it,
  // and transformer weights stay in the type of their file, converted layer by layer while they are
  // used.
  bool low_memory = false;
  // Replaces the folder's transformer weights: a trained generator
  // (models/wan/generator_checkpoint.h) of the same size.
  std::filesystem::path generator_checkpoint = {};
  models::GeneratorWeights generator_weights = models::GeneratorWeights::kAveraged;
};

// Not thread-safe while loading; what it returns is const and shared.
class WanSystem {
 public:
  // Reads the small configuration files and checks that everything is there; one error names every
  // missing file.
  explicit WanSystem(std::filesystem::path folder, WanSystemOptions options = {});

  const std::filesystem::path& folder() const { return folder_; }
  const WanSystemOptions& options() const { return options_; }
  const models::WanConfig& transformer_config() const { return transformer_config_; }
  const models::VaeConfig& vae_config() const { return vae_config_; }
  const models::Umt5Config& text_config() const { return text_config_; }
  at::TensorOptions tensor_options() const {
    return at::TensorOptions().dtype(options_.dtype).device(options_.device);
  }

  // What the transformer reads of prompts: [B, text_len, text_dim], rows beyond each prompt zero.
  at::Tensor encode_text(std::span<const std::string> prompts);

  // The transformer with settings of the run (attention, chunks) in `config`, whose sizes must be
  // those of transformer_config(). Weights are read once and shared unless low_memory.
  std::shared_ptr<const models::WanDit> transformer(const models::WanConfig& config);
  std::shared_ptr<const models::CausalWanDit> causal_transformer(const models::WanConfig& config);
  std::shared_ptr<const models::WanVae> vae();

 private:
  struct TextEncoder {
    models::Tokenizer tokenizer;
    models::Umt5Encoder encoder;
  };

  models::TensorMap load(const models::TensorMap& stored, bool convert) const;
  std::shared_ptr<const models::TensorMap> transformer_weights();
  std::shared_ptr<const TextEncoder> text_encoder();

  std::filesystem::path folder_;
  WanSystemOptions options_;
  models::WanConfig transformer_config_;
  models::VaeConfig vae_config_;
  models::Umt5Config text_config_;
  std::vector<std::filesystem::path> transformer_files_;  // empty: generator_checkpoint
  std::filesystem::path text_file_, vae_file_, tokenizer_folder_;
  std::shared_ptr<const models::TensorMap> transformer_weights_;
  std::shared_ptr<const TextEncoder> text_encoder_;
  std::shared_ptr<const models::WanVae> vae_;
};

}  // namespace monarch::pipelines
