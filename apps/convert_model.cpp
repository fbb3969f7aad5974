#include "apps/convert_model.h"

#include <filesystem>
#include <iostream>
#include <optional>

#include "apps/progress.h"
#include "apps/shipped.h"
#include "monarch/base/error.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/convert.h"
#include "monarch/models/wan/generator_checkpoint.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/models/wan/wan_names.h"
#include "monarch/pipelines/run_config.h"
#include "monarch/pipelines/run_options.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

fs::path model_of(const ConvertModelArguments& a) {
  if (!a.model.empty()) return shipped_path(a.model);
  const Json config = pipelines::read_run_config(a.config);
  MONARCH_CHECK(config.contains("model_kwargs") && config["model_kwargs"].contains("model_name"),
                "[convert] ", a.config,
                " does not say which model was trained (model_kwargs.model_name); give --model");
  return pipelines::named_model(
      shipped_path(config["model_kwargs"]["model_name"].get<std::string>()));
}

void write_weights(const io::Checkpoint& checkpoint, const fs::path& file,
                   const std::optional<DType>& dtype) {
  std::vector<std::string> names;
  for (const io::TensorEntry& tensor : checkpoint.tensors()) names.push_back(tensor.name);
  io::convert_checkpoint(checkpoint, file, {.dtype = dtype, .rename = models::wan_names(names)});
}

void write_config(const Json& config, const fs::path& file) {
  if (!config.empty()) io::write_file(file, config.dump(2) + '\n');
}

// `name` of the original where it has the beginning that find_model looks for.
std::string with_beginning(const fs::path& name, std::string_view beginning,
                           const std::string& usual) {
  return name.string().starts_with(beginning) ? name.string() : usual;
}

void write_settings(const pipelines::GenerationOptions& options, const fs::path& file) {
  std::string text = "# What generate and serve do with this model unless told otherwise.\n";
  const Json settings = pipelines::settings_of(options);
  for (const auto& [key, value] : settings.items())
    text += key + ": " + value.dump() + '\n';  // JSON is YAML
  io::write_file(file, text);
}

// All files of the folder.
void write_folder(const fs::path& folder, const fs::path& base, const io::Checkpoint& generator,
                  const std::optional<DType>& dtype, const pipelines::GenerationOptions& options) {
  const models::ModelFolder parts = models::find_model(base, /*need_transformer=*/false);
  const std::string tokenizer = with_beginning(parts.tokenizer.filename(), "umt5-", "umt5-xxl");
  fs::create_directories(folder / "google");
  fs::copy(parts.tokenizer, folder / "google" / tokenizer, fs::copy_options::recursive);
  write_weights(generator, folder / "diffusion_pytorch_model.safetensors", dtype);
  write_weights(*io::open_checkpoint(parts.vae), folder / "Wan2.1_VAE.safetensors", dtype);
  write_weights(*io::open_checkpoint(parts.text_encoder),
                folder / (with_beginning(parts.text_encoder.stem(), "models_t5_umt5-",
                                         "models_t5_umt5-xxl-enc") +
                          ".safetensors"),
                dtype);
  write_config(parts.transformer_config, folder / "config.json");
  write_config(parts.vae_config, folder / "vae_config.json");
  write_config(parts.text_config, folder / "text_encoder_config.json");
  write_settings(options, folder / "generate.yaml");
}

std::uint64_t folder_bytes(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& item : fs::recursive_directory_iterator(folder))
    if (item.is_regular_file()) bytes += item.file_size();
  return bytes;
}

}  // namespace

void convert_model(const std::string& checkpoint, const std::string& output,
                   const ConvertModelArguments& a) {
  std::optional<DType> dtype;
  if (!a.dtype.empty()) {
    dtype = parse_dtype(a.dtype);
    MONARCH_CHECK(dtype.has_value(), "[convert] unknown --dtype ", a.dtype,
                  "; use float16, bfloat16 or float32");
  }
  const fs::path folder = (fs::path(output) / "").parent_path();
  MONARCH_CHECK(!fs::exists(folder), "[convert] ", output,
                " is there already; give the name of a new folder");
  const fs::path base = model_of(a);
  const pipelines::GenerationOptions options = pipelines::run_options(base, a.config);
  options.validate();
  const auto which =
      a.use_ema ? models::GeneratorWeights::kAveraged : models::GeneratorWeights::kRaw;
  // Also checks that the weights are the model's and that it can attend so.
  const pipelines::WanSystem system(
      base, {.generator_checkpoint = checkpoint, .generator_weights = which});
  const std::string attention = pipelines::describe_attention(system, options);

  const fs::path unfinished = io::temporary_name(folder);
  try {
    write_folder(unfinished, base, *models::generator_of(io::open_checkpoint(checkpoint), which),
                 dtype, options);
    fs::rename(unfinished, folder);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    throw;
  }
  std::cout << output << ": " << format_bytes(folder_bytes(folder)) << ", "
            << pipelines::generation_mode_name(options.mode()) << ", " << attention << '\n';
}

}  // namespace monarch::apps
