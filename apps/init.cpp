// `monarch init`: a folder in the Wan layout with random weights, to try memory and speed without a
// download, for tests, and to start training from.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "apps/command.h"
#include "apps/progress.h"
#include "apps/shipped.h"
#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

struct InitOptions {
  std::string folder;
  std::string preset = "tiny";
  std::string tokenizer;
  std::string dtype = "bf16";
  std::uint64_t seed = 0;
};

struct Architecture {
  models::WanConfig transformer;
  models::Umt5Config text;
  models::VaeConfig vae;
};

Architecture architecture(const std::string& preset) {
  Architecture result;
  if (preset == "1.3B") {
  } else if (preset == "14B") {
    result.transformer.dim = 5120;
    result.transformer.ffn_dim = 13824;
    result.transformer.num_heads = 40;
    result.transformer.num_layers = 40;
  } else if (preset == "tiny") {
    result.transformer.dim = 48;
    result.transformer.ffn_dim = 96;
    result.transformer.num_heads = 2;
    result.transformer.num_layers = 2;
    result.transformer.freq_dim = 32;
    result.transformer.text_dim = 32;
    result.transformer.text_len = 24;
    result.text.vocab_size = 1024;
    result.text.dim = result.text.dim_attn = 32;
    result.text.dim_ffn = 48;
    result.text.num_heads = 2;
    result.text.num_layers = 1;
    result.text.seq_len = 24;
    result.vae.dim = 4;
  } else {
    fail(ErrorCode::kInvalidArgument, "[init] unknown preset '", preset,
         "'; use tiny, 1.3B or 14B");
  }
  result.vae.complete();
  return result;
}

// Norm weights are one, biases zero, everything else normal with deviation 1/sqrt(fan-in).
at::Tensor random_tensor(const io::TensorEntry& entry, at::Generator generator,
                         at::ScalarType type) {
  const bool vector = entry.shape.size() == 1;
  if (entry.name.find("gamma") != std::string::npos) return at::ones(entry.shape, type);
  if (vector)
    return entry.name.ends_with("bias") ? at::zeros(entry.shape, type)
                                        : at::ones(entry.shape, type);
  double fan_in = 1;
  for (std::size_t axis = 1; axis < entry.shape.size(); ++axis)
    fan_in *= static_cast<double>(entry.shape[axis]);
  return at::randn(entry.shape, generator, at::kFloat).mul_(1 / std::sqrt(fan_in)).to(type);
}

void write_random(const fs::path& path, const models::ShapeMap& shapes,
                  const InitOptions& options) {
  const DType dtype = *parse_dtype(options.dtype);
  std::vector<io::TensorEntry> entries;
  for (const auto& [name, shape] : shapes) entries.push_back({name, dtype, shape, {}});
  const at::ScalarType type = dtype == DType::kF32   ? at::kFloat
                              : dtype == DType::kF16 ? at::kHalf
                                                     : at::kBFloat16;
  auto generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
  Progress progress("writing " + path.filename().string(),
                    static_cast<std::int64_t>(entries.size()));
  std::int64_t done = 0;
  io::write_safetensors(
      path, entries, {{"format", "pt"}},
      [&](const io::TensorEntry& entry, const io::ByteSink& sink) {
        const at::Tensor tensor = random_tensor(entry, generator, type);
        sink({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
        progress.advance(++done);
      });
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.flush();
  MONARCH_CHECK_CODE(file.good(), kIo, "[init] cannot write ", path.string());
}

void write_json(const fs::path& path, const Json& json) { write_text(path, json.dump(2) + "\n"); }

Json transformer_json(const models::WanConfig& config) {
  return {{"_class_name", "WanModel"},
          {"model_type", config.model_type},
          {"dim", config.dim},
          {"ffn_dim", config.ffn_dim},
          {"freq_dim", config.freq_dim},
          {"text_dim", config.text_dim},
          {"text_len", config.text_len},
          {"in_dim", config.in_dim},
          {"out_dim", config.out_dim},
          {"num_heads", config.num_heads},
          {"num_layers", config.num_layers},
          {"eps", config.eps}};
}

void run_init(const InitOptions& options) {
  const std::string tokenizer = shipped_path(options.tokenizer);
  const Architecture sizes = architecture(options.preset);
  const fs::path folder = options.folder;
  MONARCH_CHECK(!fs::exists(folder / "config.json"), "[init] ", options.folder,
                " holds a model already; give another folder");
  MONARCH_CHECK(fs::is_regular_file(tokenizer), "[init] there is no tokenizer at '",
                options.tokenizer, "'; give a sentencepiece model with --tokenizer");
  std::error_code error;
  fs::create_directories(folder / "google" / "umt5-xxl", error);
  MONARCH_CHECK_CODE(!error, kIo, "[init] cannot make ", options.folder, ": ", error.message());
  fs::copy_file(tokenizer, folder / "google" / "umt5-xxl" / "spiece.model",
                fs::copy_options::overwrite_existing);
  write_random(folder / "models_t5_umt5-xxl-enc-bf16.safetensors",
               models::parameter_shapes(sizes.text), options);
  write_random(folder / "diffusion_pytorch_model.safetensors",
               models::dit_parameter_shapes(sizes.transformer), options);
  write_random(folder / "Wan2.1_VAE.safetensors", models::parameter_shapes(sizes.vae), options);
  write_json(folder / "vae_config.json", sizes.vae.to_json());
  write_json(folder / "text_encoder_config.json", sizes.text.to_json());
  if (options.preset == "tiny") {
    write_text(folder / "generate.yaml",
               "width: 128\nheight: 96\nnum_frames: 9\nsampling_steps: 3\n");
  }
  write_json(folder / "config.json", transformer_json(sizes.transformer));
  std::cout << "random " << options.preset << " model in " << options.folder << '\n';
}

}  // namespace

void add_init(CLI::App& app) {
  auto options = std::make_shared<InitOptions>();
  options->tokenizer = "models/shapes/google/umt5-shapes/spiece.model";
  CLI::App* command = app.add_subcommand("init", "write a model folder with random weights");
  command->add_option("folder", options->folder, "where it goes")->required();
  command->add_option("--preset", options->preset, "sizes: tiny, 1.3B or 14B")
      ->capture_default_str();
  command->add_option("--tokenizer", options->tokenizer, "sentencepiece model to copy")
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "f32, bf16 or f16")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "seed of the weights")->capture_default_str();
  command->footer(
      "Example: monarch init /data/random-1.3B --preset 1.3B   (17 GB; tries memory and speed "
      "without a download)");
  command->callback([options] { run_init(*options); });
}

}  // namespace monarch::apps
