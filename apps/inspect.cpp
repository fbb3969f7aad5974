// monarch inspect: what a file or folder is, and whether this program can use it.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/io/checkpoint.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/sha256.h"
#include "monarch/io/video.h"
#include "monarch/io/yaml.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

struct InspectOptions {
  std::string path;
  bool json = false;
  bool tensors = false;
  bool hash = false;
};

// Files up to this size are hashed without being asked: about two seconds.
constexpr std::uint64_t kHashWithoutAsking = 500'000'000;

std::string extension_of(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

bool is_one_of(const std::string& text, std::initializer_list<const char*> candidates) {
  return std::find(candidates.begin(), candidates.end(), text) != candidates.end();
}

Json guessed_sizes(const std::map<std::string, const io::TensorEntry*>& tensors) {
  const auto extent = [&](const std::string& name, std::size_t axis) -> Json {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second->shape.size() <= axis) return nullptr;
    return found->second->shape[axis];
  };
  int64_t layers = 0;
  while (tensors.contains(str_cat("blocks.", layers, ".ffn.0.weight"))) ++layers;
  return {{"dim", extent("patch_embedding.weight", 0)},
          {"in_dim", extent("patch_embedding.weight", 1)},
          {"ffn_dim", extent("blocks.0.ffn.0.weight", 0)},
          {"text_dim", extent("text_embedding.0.weight", 1)},
          {"num_layers", layers},
          {"model_type", tensors.contains("img_emb.proj.0.weight") ? "i2v" : "t2v"}};
}

// What the tensors under `group` ("" or "generator.") are.
Json describe_group(const io::Checkpoint& checkpoint, const std::string& group) {
  std::vector<std::string> names;
  for (const io::TensorEntry& tensor : checkpoint.tensors()) {
    if (tensor.name.starts_with(group)) names.push_back(tensor.name.substr(group.size()));
  }
  const auto renamed = models::wan_names(names);
  const models::WanPart part = models::wan_part(renamed);
  Json report = {{"group", group}, {"tensors", names.size()}, {"is", models::wan_part_name(part)}};
  if (part == models::WanPart::kTransformer) {
    std::map<std::string, const io::TensorEntry*> tensors;
    for (const auto& [stored, wan] : renamed) tensors[wan] = checkpoint.find(group + stored);
    report["sizes"] = guessed_sizes(tensors);
  }
  return report;
}

std::vector<std::string> groups_of(const io::Checkpoint& checkpoint) {
  const auto found = checkpoint.metadata().find("groups");
  if (found == checkpoint.metadata().end()) return {""};
  const Json json = Json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> groups;
  for (const Json& group : json) {
    if (group.is_string()) groups.push_back(group.get<std::string>() + ".");
  }
  return groups.empty() ? std::vector<std::string>{""} : groups;
}

Json describe_checkpoint(const io::Checkpoint& checkpoint, bool list_tensors) {
  std::map<std::string, std::pair<int64_t, int64_t>> dtypes;  // tensors, parameters
  int64_t parameters = 0;
  std::uint64_t bytes = 0;
  Json tensors = Json::array();
  for (const io::TensorEntry& tensor : checkpoint.tensors()) {
    const std::string dtype(dtype_name(tensor.dtype));
    ++dtypes[dtype].first;
    dtypes[dtype].second += tensor.num_elements();
    parameters += tensor.num_elements();
    bytes += tensor.bytes.size();
    if (list_tensors) {
      tensors.push_back({{"name", tensor.name}, {"dtype", dtype}, {"shape", tensor.shape}});
    }
  }
  Json report = {{"num_tensors", checkpoint.tensors().size()},
                 {"num_parameters", parameters},
                 {"tensor_bytes", bytes},
                 {"metadata", checkpoint.metadata()}};
  for (const auto& [dtype, counts] : dtypes) {
    report["dtypes"][dtype] = {{"tensors", counts.first}, {"parameters", counts.second}};
  }
  report["contains"] = Json::array();
  bool transformer = false, known = false;
  for (const std::string& group : groups_of(checkpoint)) {
    report["contains"].push_back(describe_group(checkpoint, group));
    const std::string is = report["contains"].back()["is"];
    transformer |= is == models::wan_part_name(models::WanPart::kTransformer);
    known |= is != models::wan_part_name(models::WanPart::kUnknown);
  }
  report["usable"] = known;
  report["needs"] = transformer ? Json::array({"a model folder with config.json, text encoder, VAE "
                                               "and tokenizer (--model), this file as "
                                               "--checkpoint_path"})
                    : known     ? Json::array({"the other parts of a model folder"})
                                : Json::array({"names of a Wan transformer, VAE or UMT5 encoder"});
  if (list_tensors) report["tensors"] = std::move(tensors);
  return report;
}

Json describe_model(const models::ModelFolder& model, const InspectOptions& options) {
  Json report = {{"kind", "model folder"},
                 {"layout", model.diffusers ? "diffusers" : "Wan"},
                 {"usable", model.missing.empty()},
                 {"needs", model.missing}};
  const auto part = [&](const char* name, const fs::path& path, auto open) {
    if (path.empty()) return;
    try {
      report["parts"][name] = describe_checkpoint(*open(), options.tensors);
    } catch (const Error& error) {
      report["parts"][name] = {{"error", error.what()}};
      report["usable"] = false;
      report["needs"].push_back(error.what());
    }
    report["parts"][name]["path"] = path.string();
  };
  part("transformer", model.transformer, [&] { return model.open_transformer(); });
  part("vae", model.vae, [&] { return io::open_checkpoint(model.vae); });
  part("text_encoder", model.text_encoder, [&] { return io::open_checkpoint(model.text_encoder); });
  if (!model.tokenizer.empty()) report["parts"]["tokenizer"] = {{"path", model.tokenizer.string()}};
  report["config"] = model.transformer_config;
  return report;
}

Json describe_folder(const fs::path& path, const InspectOptions& options) {
  const models::ModelFolder model = models::find_model(path);
  // One missing part still is a model folder; tensors alone are a sharded checkpoint.
  if (!model.transformer_config.empty() || !model.vae.empty() || !model.text_encoder.empty()) {
    return describe_model(model, options);
  }
  Json report = describe_checkpoint(*io::open_checkpoint(path), options.tensors);
  report["kind"] = "folder of safetensors";
  return report;
}

Json describe_video(const fs::path& path) {
  const io::Video video = io::read_video(path);
  return {{"kind", video.frames.size() == 1 ? "image" : "video"},
          {"width", video.width},
          {"height", video.height},
          {"frames", video.frames.size()},
          {"fps", video.fps},
          {"usable", true},
          {"needs", Json::array()}};
}

Json describe_config(const fs::path& path) {
  const Json config = io::read_yaml(path);
  return {
      {"kind", "configuration"}, {"usable", true}, {"needs", Json::array()}, {"config", config}};
}

Json describe_file(const fs::path& path, const InspectOptions& options) {
  const std::string extension = extension_of(path);
  Json report;
  if (is_one_of(extension, {".yaml", ".yml", ".json"})) {
    report = describe_config(path);
  } else if (is_one_of(extension, {".mp4", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".mov",
                                   ".webm", ".mkv", ".avi"})) {
    report = describe_video(path);
  } else {
    report = describe_checkpoint(*io::open_checkpoint(path), options.tensors);
    report["kind"] = report["metadata"].contains("case") ? "parity case" : "checkpoint";
  }
  const io::MappedFile file(path);
  report["bytes"] = file.bytes().size();
  if (options.hash || file.bytes().size() <= kHashWithoutAsking) {
    report["sha256"] = io::sha256(file.bytes());
  }
  return report;
}

void print_checkpoint(const Json& report, const std::string& indent) {
  if (report.contains("error")) {
    std::cout << indent << "cannot be read: " << report["error"].get<std::string>() << "\n";
    return;
  }
  std::cout << indent << report["num_tensors"] << " tensors, " << report["num_parameters"]
            << " parameters, " << format_bytes(report["tensor_bytes"].get<std::uint64_t>());
  const Json dtypes = report.value("dtypes", Json::object());
  for (const auto& [dtype, counts] : dtypes.items()) {
    std::cout << ", " << dtype << " in " << counts["tensors"];
  }
  std::cout << "\n";
  for (const Json& group : report["contains"]) {
    std::cout << indent << (group["group"] == "" ? "all" : group["group"].get<std::string>() + "*")
              << ": " << group["is"].get<std::string>() << ", " << group["tensors"] << " tensors";
    if (group.contains("sizes")) std::cout << " " << group["sizes"].dump();
    std::cout << "\n";
  }
  for (const auto& [key, value] : report["metadata"].items()) {
    std::cout << indent << "metadata " << key << ": " << value.get<std::string>().substr(0, 200)
              << "\n";
  }
  const Json tensors = report.value("tensors", Json::array());
  for (const Json& tensor : tensors) {
    std::cout << indent << "  " << tensor["name"].get<std::string>() << " "
              << tensor["dtype"].get<std::string>() << " " << tensor["shape"].dump() << "\n";
  }
}

void print_text(const Json& report) {
  std::cout << report["path"].get<std::string>() << ": " << report["kind"].get<std::string>();
  if (report.contains("layout")) std::cout << ", " << report["layout"].get<std::string>();
  if (report.contains("bytes")) {
    std::cout << ", " << format_bytes(report["bytes"].get<std::uint64_t>());
  }
  std::cout << "\n";
  if (report.contains("sha256"))
    std::cout << "  sha256 " << report["sha256"].get<std::string>() << "\n";
  if (report.contains("width")) {
    std::cout << "  " << report["width"] << "x" << report["height"] << ", " << report["frames"]
              << " frames at " << report["fps"] << " per second\n";
  }
  if (report.contains("num_tensors")) print_checkpoint(report, "  ");
  const Json parts = report.value("parts", Json::object());
  for (const auto& [name, part] : parts.items()) {
    std::cout << "  " << name << ": " << part["path"].get<std::string>() << "\n";
    if (name != "tokenizer") print_checkpoint(part, "    ");
  }
  if (report.contains("config")) std::cout << "  config " << report["config"].dump() << "\n";
  std::cout << (report["usable"].get<bool>() ? "  can be used" : "  cannot be used as it is");
  const char* separator = "; needs ";
  for (const Json& need : report["needs"]) {
    std::cout << separator << need.get<std::string>();
    separator = ", ";
  }
  std::cout << "\n";
}

void inspect(const InspectOptions& options) {
  const fs::path path = options.path;
  Json report =
      fs::is_directory(path) ? describe_folder(path, options) : describe_file(path, options);
  report["path"] = path.string();
  if (options.json) {
    std::cout << report.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    print_text(report);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect", "say what a checkpoint, model folder, config or video is");
  command->add_option("path", options->path, "a file or folder")->required();
  command->add_flag("--json", options->json, "print one JSON object");
  command->add_flag("--tensors", options->tensors, "list every tensor");
  command->add_flag("--hash", options->hash, "SHA-256 of files above 500 MB too");
  command->footer("Example: monarch inspect Wan2.1-T2V-1.3B");
  command->callback([options] { inspect(*options); });
}

}  // namespace monarch::apps
