#include "monarch/models/wan/model_folder.h"

#include <algorithm>

#include "monarch/base/error.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/sharded.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTransformerStem = "diffusion_pytorch_model";

// Entries of `folder` called <beginning>*<ending>, in name order.
std::vector<fs::path> matching(const fs::path& folder, std::string_view beginning,
                               std::string_view ending) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(folder, ignored)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with(beginning) && name.ends_with(ending)) found.push_back(item.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path first_of(const fs::path& folder, std::string_view beginning) {
  for (const char* ending : {".safetensors", ".pth"}) {
    const auto found = matching(folder, beginning, ending);
    if (!found.empty()) return found.front();
  }
  return {};
}

Json read_config(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  const io::MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  MONARCH_CHECK_CODE(json.is_object(), kCorrupt, "[monarch_models] ", path.string(),
                     " is not a JSON object");
  return json;
}

bool has_tokenizer(const fs::path& folder) {
  return fs::exists(folder / "spiece.model") || fs::exists(folder / "tokenizer.json");
}

bool has_transformer(const fs::path& folder) {
  return !matching(folder, kTransformerStem, ".safetensors").empty() ||
         !matching(folder, kTransformerStem, ".safetensors.index.json").empty();
}

ModelFolder find_wan(const fs::path& folder, bool need_transformer) {
  ModelFolder model;
  if (has_transformer(folder)) model.transformer = folder;
  model.vae = first_of(folder, "Wan2.1_VAE");
  model.text_encoder = first_of(folder, "models_t5_umt5-");
  for (const fs::path& candidate : matching(folder / "google", "umt5-", "")) {
    if (model.tokenizer.empty() && has_tokenizer(candidate)) model.tokenizer = candidate;
  }
  model.transformer_config = wan_transformer_config(read_config(folder / "config.json"));
  model.vae_config = read_config(folder / "vae_config.json");
  model.text_config = read_config(folder / "text_encoder_config.json");
  const auto need = [&](bool there, const char* name) {
    if (!there) model.missing.emplace_back(name);
  };
  need(fs::exists(folder / "config.json"), "config.json");
  need(!need_transformer || !model.transformer.empty(), "diffusion_pytorch_model*.safetensors");
  need(!model.text_encoder.empty(), "models_t5_umt5-*.pth or .safetensors");
  need(!model.vae.empty(), "Wan2.1_VAE.pth or .safetensors");
  need(!model.tokenizer.empty(), "google/umt5-*/spiece.model");
  return model;
}

ModelFolder find_diffusers(const fs::path& folder, bool need_transformer) {
  ModelFolder model;
  model.diffusers = true;
  const auto need = [&](bool there, const std::string& name) {
    if (!there) model.missing.push_back(name);
    return there;
  };
  const auto part = [&](const char* name, fs::path& path, bool need_weights = true) {
    const bool weights = !matching(folder / name, "", ".safetensors").empty();
    if (weights) path = folder / name;
    need(weights || !need_weights, str_cat(name, "/*.safetensors"));
    need(fs::exists(folder / name / "config.json"), str_cat(name, "/config.json"));
    return read_config(folder / name / "config.json");
  };
  model.transformer_config =
      wan_transformer_config(part("transformer", model.transformer, need_transformer));
  model.vae_config = wan_vae_config(part("vae", model.vae));
  model.text_config = wan_text_config(part("text_encoder", model.text_encoder));
  if (need(has_tokenizer(folder / "tokenizer"), "tokenizer/spiece.model")) {
    model.tokenizer = folder / "tokenizer";
  }
  return model;
}

}  // namespace

std::shared_ptr<const io::Checkpoint> ModelFolder::open_transformer() const {
  return io::open_sharded(transformer, diffusers ? "" : kTransformerStem);
}

ModelFolder find_model(const fs::path& folder, bool need_transformer) {
  MONARCH_CHECK_CODE(fs::is_directory(folder), kNotFound, "[monarch_models] ",
                     fs::exists(folder) ? "the model " : "there is no model folder ",
                     folder.string(), fs::exists(folder) ? " is not a folder" : "",
                     "; download one like Wan2.1-T2V-1.3B and give its folder");
  return fs::is_directory(folder / "transformer") ? find_diffusers(folder, need_transformer)
                                                  : find_wan(folder, need_transformer);
}

}  // namespace monarch::models
