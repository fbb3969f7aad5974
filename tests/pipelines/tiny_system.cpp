#include "tests/pipelines/tiny_system.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/pipelines/noise.h"
#include "tests/models/other_names.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

const fs::path kTokenizer =
    fs::path(MONARCH_SOURCE_DIR) / "tests/fixtures/wan/tokenizer_bytefallback.model";

void write_weights(const fs::path& path, const models::TensorMap& weights) {
  std::vector<at::Tensor> storage;
  io::write_safetensors(path, models::to_entries(weights, storage), {});
}

}  // namespace

models::Umt5Config tiny_text_config() {
  models::Umt5Config config;
  config.vocab_size = 791;  // pieces of the fixtures' tokenizer
  config.dim = 16;
  config.dim_attn = 16;
  config.dim_ffn = 24;
  config.num_heads = 2;
  config.num_layers = 1;
  config.seq_len = 24;
  return config;
}

models::WanConfig tiny_config() {
  models::WanConfig config;
  config.text_len = 24;
  config.in_dim = config.out_dim = 4;
  config.dim = 24;
  config.ffn_dim = 32;
  config.freq_dim = 16;
  config.text_dim = 16;
  config.num_heads = 2;
  config.num_layers = 2;
  return config;
}

models::TensorMap tiny_weights(const models::WanConfig& config, int64_t seed) {
  at::Generator generator = seeded_generator(static_cast<std::uint64_t>(seed));
  models::TensorMap weights;
  for (const auto& [name, shape] : models::WanDit::parameter_shapes(config)) {
    const bool norm = name.find("norm") != std::string::npos && name.ends_with("weight");
    const at::Tensor drawn =
        at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat)) * 0.2;
    weights[name] = norm ? drawn + 1 : drawn;
  }
  return weights;
}

models::VaeConfig tiny_vae_config() {
  return models::VaeConfig::from_json({{"dim", 8}, {"z_dim", 4}, {"num_res_blocks", 1}});
}

void write_tiny_system(const fs::path& folder) {
  const models::WanConfig config = tiny_config();
  const Json json = {{"_class_name", "WanModel"},
                     {"model_type", "t2v"},
                     {"text_len", config.text_len},
                     {"in_dim", config.in_dim},
                     {"dim", config.dim},
                     {"ffn_dim", config.ffn_dim},
                     {"freq_dim", config.freq_dim},
                     {"text_dim", config.text_dim},
                     {"out_dim", config.out_dim},
                     {"num_heads", config.num_heads},
                     {"num_layers", config.num_layers}};
  fs::create_directories(folder / "google" / "umt5-tiny");
  std::ofstream(folder / "config.json") << json.dump(2);
  std::ofstream(folder / "vae_config.json") << tiny_vae_config().to_json().dump();
  std::ofstream(folder / "text_encoder_config.json") << tiny_text_config().to_json().dump();
  write_weights(folder / "diffusion_pytorch_model.safetensors", tiny_weights(config));
  write_weights(folder / "models_t5_umt5-tiny-enc.safetensors",
                models::random_parameters(tiny_text_config(), 2));
  write_weights(folder / "Wan2.1_VAE.safetensors", models::random_parameters(tiny_vae_config(), 3));
  fs::copy_file(kTokenizer, folder / "google" / "umt5-tiny" / "spiece.model",
                fs::copy_options::overwrite_existing);
}

void write_tiny_diffusers_system(const fs::path& folder) {
  const models::WanConfig dit = tiny_config();
  const models::VaeConfig vae = tiny_vae_config();
  const models::Umt5Config text = tiny_text_config();
  const auto write_part = [&](const char* name, const Json& config,
                              const models::TensorMap& weights, const auto& rename) {
    fs::create_directories(folder / name);
    std::ofstream(folder / name / "config.json") << config.dump(2);
    models::TensorMap renamed;
    for (const auto& [wan, tensor] : weights) renamed.emplace(rename(wan), tensor);
    write_weights(folder / name / "model.safetensors", renamed);
  };
  write_part("transformer",
             {{"_class_name", "WanTransformer3DModel"},
              {"attention_head_dim", dit.head_dim()},
              {"num_attention_heads", dit.num_heads},
              {"in_channels", dit.in_dim},
              {"out_channels", dit.out_dim},
              {"ffn_dim", dit.ffn_dim},
              {"freq_dim", dit.freq_dim},
              {"text_dim", dit.text_dim},
              {"num_layers", dit.num_layers},
              {"image_dim", nullptr},
              {"qk_norm", "rms_norm_across_heads"}},
             tiny_weights(dit), models::diffusers_transformer_name);
  write_part("vae",
             {{"_class_name", "AutoencoderKLWan"},
              {"base_dim", vae.dim},
              {"z_dim", vae.z_dim},
              {"num_res_blocks", vae.num_res_blocks},
              {"latents_mean", vae.latent_mean},
              {"latents_std", vae.latent_std}},
             models::random_parameters(vae, 3), [&](const std::string& name) {
               return models::diffusers_vae_name(name, vae.num_res_blocks);
             });
  write_part("text_encoder",
             {{"model_type", "umt5"},
              {"vocab_size", text.vocab_size},
              {"d_model", text.dim},
              {"d_kv", text.dim_attn / text.num_heads},
              {"d_ff", text.dim_ffn},
              {"num_heads", text.num_heads},
              {"num_layers", text.num_layers}},
             models::random_parameters(text, 2), models::transformers_umt5_name);
  fs::create_directories(folder / "tokenizer");
  fs::copy_file(kTokenizer, folder / "tokenizer" / "spiece.model",
                fs::copy_options::overwrite_existing);
}

fs::path fresh_folder(const std::string& name) {
  // With the process number: CTest runs each case in a process of its own, several at a time.
  const fs::path folder = fs::path(testing::TempDir()) /
                          ("monarch_pipelines_" + name + "_" + std::to_string(::getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

}  // namespace monarch::pipelines
