#include "monarch/pipelines/wan_system.h"

#include <algorithm>
#include <fstream>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/base/timer.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

// Entries of `folder` called <beginning>*<ending>, in name order.
std::vector<fs::path> matching(const fs::path& folder, std::string_view beginning,
                               std::string_view ending) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(beginning) && name.ends_with(ending)) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// The first file that is there, by preference: safetensors before torch files.
fs::path find_weights(const fs::path& folder, std::string_view beginning) {
  for (const char* ending : {".safetensors", ".pth"}) {
    if (const auto found = matching(folder, beginning, ending); !found.empty())
      return found.front();
  }
  return {};
}

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  MONARCH_CHECK_CODE(json.is_object(), kCorrupt, "[monarch_pipelines] ", path.string(),
                     " is not a JSON object");
  return json;
}

Json read_optional_json(const fs::path& path) {
  return fs::exists(path) ? read_json(path) : Json::object();
}

// Shards by their index where there is one: it may name files that are missing.
std::vector<fs::path> transformer_files(const fs::path& folder) {
  if (const auto index = matching(folder, "diffusion_pytorch_model", ".safetensors.index.json");
      !index.empty()) {
    std::vector<std::string> names;
    const Json files_of_tensors = read_json(index.front()).value("weight_map", Json::object());
    for (const Json& name : files_of_tensors) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::vector<fs::path> files;
    for (const std::string& name : names) files.push_back(folder / fs::path(name).filename());
    return files;
  }
  return matching(folder, "diffusion_pytorch_model", ".safetensors");
}

}  // namespace

WanSystem::WanSystem(fs::path folder, WanSystemOptions options)
    : folder_(std::move(folder)), options_(std::move(options)) {
  MONARCH_CHECK_CODE(fs::is_directory(folder_), kNotFound, "[monarch_pipelines] ", folder_.string(),
                     " is not a folder; give one like Wan2.1-T2V-1.3B");
  std::vector<std::string> missing;
  if (!fs::exists(folder_ / "config.json")) missing.push_back("config.json");
  if (options_.generator_checkpoint.empty()) {
    transformer_files_ = transformer_files(folder_);
    if (transformer_files_.empty()) missing.push_back("diffusion_pytorch_model*.safetensors");
    for (const fs::path& file : transformer_files_) {
      if (!fs::exists(file)) missing.push_back(file.filename().string());
    }
  } else {
    MONARCH_CHECK_CODE(fs::exists(options_.generator_checkpoint), kNotFound,
                       "[monarch_pipelines] the generator checkpoint ",
                       options_.generator_checkpoint.string(), " does not exist");
  }
  text_file_ = find_weights(folder_, "models_t5_umt5-");
  if (text_file_.empty()) missing.push_back("models_t5_umt5-*.safetensors or .pth");
  vae_file_ = find_weights(folder_, "Wan2.1_VAE");
  if (vae_file_.empty()) missing.push_back("Wan2.1_VAE.safetensors or .pth");
  const auto tokenizers = matching(folder_ / "google", "umt5-", "");
  if (!tokenizers.empty()) tokenizer_folder_ = tokenizers.front();
  if (tokenizers.empty() || !fs::exists(tokenizer_folder_ / "spiece.model")) {
    missing.push_back("google/umt5-*/spiece.model");
  }
  std::string list;
  for (const std::string& name : missing) list += (list.empty() ? "" : ", ") + name;
  MONARCH_CHECK_CODE(missing.empty(), kNotFound, "[monarch_pipelines] ", folder_.string(),
                     " lacks ", list, "; is the download complete?");

  transformer_config_ = models::WanConfig::from_json(read_json(folder_ / "config.json"),
                                                     (folder_ / "config.json").string());
  vae_config_ = models::VaeConfig::from_json(read_optional_json(folder_ / "vae_config.json"));
  text_config_ =
      models::Umt5Config::from_json(read_optional_json(folder_ / "text_encoder_config.json"));
  MONARCH_CHECK(text_config_.dim == transformer_config_.text_dim,
                "[monarch_pipelines] the text encoder of ", folder_.string(), " gives ",
                text_config_.dim, " values a token, its transformer takes ",
                transformer_config_.text_dim,
                "; set dim in text_encoder_config.json or text_dim in config.json");
  MONARCH_CHECK(vae_config_.z_dim == transformer_config_.out_dim, "[monarch_pipelines] the VAE of ",
                folder_.string(), " has ", vae_config_.z_dim, " latent channels, its transformer ",
                transformer_config_.out_dim,
                "; set z_dim in vae_config.json or out_dim in config.json");
  text_config_.seq_len = transformer_config_.text_len;
}

models::TensorMap WanSystem::load(const models::TensorMap& stored, bool convert) const {
  models::TensorMap loaded;
  for (const auto& [name, tensor] : stored) {
    const bool change = convert && tensor.is_floating_point();
    loaded.emplace(name,
                   tensor.to(options_.device, change ? options_.dtype : tensor.scalar_type()));
  }
  return loaded;
}

std::shared_ptr<const models::TensorMap> WanSystem::transformer_weights() {
  if (transformer_weights_) return transformer_weights_;
  const Timer timer;
  models::TensorMap stored;
  if (transformer_files_.empty()) {
    stored = models::read_generator(options_.generator_checkpoint, options_.generator_weights);
  }
  for (const fs::path& file : transformer_files_)
    stored.merge(models::to_tensors(io::open_checkpoint(file)));
  auto weights = std::make_shared<const models::TensorMap>(load(stored, !options_.low_memory));
  log_info("transformer weights loaded in ", timer.seconds(), " s");
  if (!options_.low_memory) transformer_weights_ = weights;
  return weights;
}

std::shared_ptr<const models::WanDit> WanSystem::transformer(const models::WanConfig& config) {
  return std::make_shared<const models::WanDit>(config, *transformer_weights());
}

std::shared_ptr<const models::CausalWanDit> WanSystem::causal_transformer(
    const models::WanConfig& config) {
  return std::make_shared<const models::CausalWanDit>(config, *transformer_weights());
}

std::shared_ptr<const models::WanVae> WanSystem::vae() {
  if (vae_) return vae_;
  const Timer timer;
  auto vae = std::make_shared<const models::WanVae>(
      vae_config_, load(models::to_tensors(io::open_checkpoint(vae_file_)), /*convert=*/true));
  log_info("VAE loaded in ", timer.seconds(), " s");
  if (!options_.low_memory) vae_ = vae;
  return vae;
}

std::shared_ptr<const WanSystem::TextEncoder> WanSystem::text_encoder() {
  if (text_encoder_) return text_encoder_;
  const Timer timer;
  // The encoder converts each matrix while it is used: its file stays mapped, 11 GB in the
  // published size.
  const models::TensorMap weights =
      load(models::to_tensors(io::open_checkpoint(text_file_)), /*convert=*/false);
  auto encoder = std::make_shared<const TextEncoder>(
      TextEncoder{models::Tokenizer(tokenizer_folder_, text_config_.seq_len),
                  models::Umt5Encoder(text_config_, weights, options_.dtype)});
  log_info("text encoder loaded in ", timer.seconds(), " s");
  if (!options_.low_memory) text_encoder_ = encoder;
  return encoder;
}

at::Tensor WanSystem::encode_text(std::span<const std::string> prompts) {
  const at::NoGradGuard no_grad;
  const auto text = text_encoder();
  const models::TokenBatch tokens = text->tokenizer.encode(prompts);
  return text->encoder.embeds(tokens.ids.to(options_.device), tokens.mask.to(options_.device))
      .to(tensor_options());
}

}  // namespace monarch::pipelines
