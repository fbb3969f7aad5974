#include "monarch/training/run_folder.h"

#include <unistd.h>

#include <fstream>
#include <iomanip>
#include <regex>
#include <sstream>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/sha256.h"
#include "monarch/training/checkpoint.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kManifest = "manifest.json";
constexpr std::string_view kOptimizerPrefix = "optimizer.";

std::string hash_of(const fs::path& file) {
  io::Sha256 hash;
  hash.update(io::MappedFile(file).bytes());
  return hash.hex();
}

// Removes the folder unless it was kept.
struct TemporaryFolder {
  explicit TemporaryFolder(fs::path at) : path(std::move(at)) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path path;
};

Json describe(const fs::path& file) {
  return {{"bytes", fs::file_size(file)}, {"sha256", hash_of(file)}};
}

// Throws kCorrupt if the checkpoint is not what was written.
Json read_manifest(const fs::path& checkpoint) {
  std::ifstream in(checkpoint / kManifest);
  const Json manifest = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  MONARCH_CHECK_CODE(manifest.is_object() && manifest.contains("files"), kCorrupt,
                     "[monarch_training] ", (checkpoint / kManifest).string(),
                     " is missing or damaged");
  for (const auto& [name, expected] : manifest.at("files").items()) {
    const fs::path file = checkpoint / name;
    MONARCH_CHECK_CODE(fs::exists(file) && describe(file) == expected, kCorrupt,
                       "[monarch_training] ", file.string(),
                       " is not what the run wrote: its size or hash differs from ", kManifest);
  }
  return manifest;
}

}  // namespace

RunFolder::RunFolder(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  fs::create_directories(path_, error);
  MONARCH_CHECK_CODE(fs::is_directory(path_), kIo, "[monarch_training] cannot make the folder ",
                     path_.string(), ": ", error.message());
}

std::vector<fs::path> RunFolder::checkpoints() const {
  static const std::regex name(R"(checkpoint_model_\d{6,})");
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path_)) {
    if (std::regex_match(entry.path().filename().string(), name)) found.push_back(entry.path());
  }
  const auto key = [](const fs::path& p) {
    const std::string text = p.filename().string();
    return std::pair(text.size(), text);
  };
  std::ranges::sort(found, std::greater<>(), key);
  return found;
}

fs::path RunFolder::save(const Progress& progress, const models::TensorMap& state,
                         const Json& config) const {
  std::ostringstream name;
  name << "checkpoint_model_" << std::setw(6) << std::setfill('0') << progress.step;
  TemporaryFolder temporary(path_ / ("." + name.str() + ".part"));
  models::TensorMap model, optimizer;
  for (const auto& [key, tensor] : state)
    (key.starts_with(kOptimizerPrefix) ? optimizer : model)[key] = tensor.detach().cpu();
  save_tensors(temporary.path / kModel, model, {{"format", "pt"}});
  save_tensors(temporary.path / kOptimizer, optimizer);
  const Json manifest = {{"step", progress.step},
                         {"batches", progress.batches},
                         {"ranks", progress.ranks},
                         {"seed", progress.seed},
                         {"seconds", progress.seconds},
                         {"config", config},
                         {"files",
                          {{kModel, describe(temporary.path / kModel)},
                           {kOptimizer, describe(temporary.path / kOptimizer)}}}};
  io::write_file(temporary.path / kManifest, manifest.dump(2) + "\n");
  const fs::path final = path_ / name.str();
  fs::remove_all(final);
  io::publish(temporary.path, final);
  temporary.path.clear();
  return final;
}

fs::path RunFolder::latest() const {
  const std::vector<fs::path> all = checkpoints();
  return all.empty() ? fs::path() : all.front();
}

std::optional<SavedRun> RunFolder::load_latest() const {
  for (const fs::path& checkpoint : checkpoints()) {
    try {
      const Json manifest = read_manifest(checkpoint);
      SavedRun saved{.path = checkpoint,
                     .progress = {.step = manifest.at("step"),
                                  .batches = manifest.at("batches"),
                                  .ranks = manifest.value("ranks", int64_t{1}),
                                  .seed = manifest.at("seed"),
                                  .seconds = manifest.at("seconds")},
                     .tensors = load_tensors(checkpoint / kModel).tensors};
      saved.tensors.merge(load_tensors(checkpoint / kOptimizer).tensors);
      return saved;
    } catch (const std::exception& error) {
      log_warning(error.what(), "; trying the checkpoint before it");
    }
  }
  return std::nullopt;
}

void RunFolder::log(int64_t step, const Metrics& metrics, double seconds) {
  if (!events_) events_ = std::make_unique<io::EventFile>(path_);
  events_->write(step, metrics);
  Metrics timed = metrics;
  timed.emplace_back("seconds", seconds);
  std::ofstream out(path_ / "metrics.jsonl", std::ios::app);
  out << json_line(step, timed) << '\n' << std::flush;
  MONARCH_CHECK_CODE(out.good(), kIo, "[monarch_training] cannot write ",
                     (path_ / "metrics.jsonl").string(), "; is the disk full?");
}

void RunFolder::rewind_log(int64_t step) const {
  const fs::path file = path_ / "metrics.jsonl";
  std::ifstream in(file);
  std::string kept, line;
  while (std::getline(in, line)) {
    const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("step", step + 1) <= step) kept += line + "\n";
  }
  io::write_file(file, kept);
}

}  // namespace monarch::training
