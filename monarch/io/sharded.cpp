#include "monarch/io/sharded.h"

#include <algorithm>
#include <set>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/base/options_reader.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr std::uint64_t kMaxIndexBytes = 100'000'000;

class ShardedCheckpoint final : public Checkpoint {
 public:
  ShardedCheckpoint(std::vector<std::shared_ptr<const Checkpoint>> shards, const std::string& where)
      : shards_(std::move(shards)) {
    std::vector<TensorEntry> all;
    for (const auto& shard : shards_) {
      all.insert(all.end(), shard->tensors().begin(), shard->tensors().end());
    }
    if (!shards_.empty()) metadata_ = shards_.front()->metadata();
    set_tensors(std::move(all), where);
  }

 private:
  std::vector<std::shared_ptr<const Checkpoint>> shards_;
};

std::vector<fs::path> matching(const fs::path& folder, std::string_view stem,
                               std::string_view ending) {
  std::vector<fs::path> found;
  for (const auto& item : fs::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    // Hidden names are downloads and writes that have not finished.
    if (name.starts_with(stem) && name.ends_with(ending) && !name.starts_with('.'))
      found.push_back(item.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// tensor -> file name
std::map<std::string, std::string> read_index(const fs::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  MONARCH_CHECK_CODE(bytes.size() <= kMaxIndexBytes, kCorrupt, "[monarch_io] ", path.string(),
                     " has ", byte_string(bytes.size()), ": too long for an index");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  MONARCH_CHECK_CODE(
      json.is_object() && json.contains("weight_map") && json["weight_map"].is_object(), kCorrupt,
      "[monarch_io] ", path.string(),
      " is not an index: a JSON object with weight_map was expected");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, value] : json["weight_map"].items()) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    MONARCH_CHECK_CODE(name.ends_with(".safetensors") && name.find('/') == std::string::npos,
                       kCorrupt, "[monarch_io] ", path.string(), ": tensor ", quote(tensor),
                       " is said to be in ", quote(value.dump()),
                       "; the name of a .safetensors file in the same folder was expected");
    files[tensor] = name;
  }
  return files;
}

std::vector<std::shared_ptr<const Checkpoint>> open_all(const std::vector<fs::path>& paths) {
  std::vector<std::shared_ptr<const Checkpoint>> shards;
  shards.reserve(paths.size());
  for (const fs::path& path : paths) shards.push_back(open_checkpoint(path));
  return shards;
}

std::shared_ptr<const Checkpoint> open_indexed(const fs::path& index, const fs::path& folder) {
  const std::map<std::string, std::string> files = read_index(index);
  std::set<std::string> names;
  for (const auto& [tensor, name] : files) names.insert(name);
  std::vector<fs::path> paths;
  std::string missing;
  for (const std::string& name : names) {
    paths.push_back(folder / name);
    if (!fs::exists(paths.back())) missing += (missing.empty() ? "" : ", ") + name;
  }
  MONARCH_CHECK_CODE(missing.empty(), kNotFound, "[monarch_io] ", folder.string(),
                     " lacks these files of its index: ", missing, "; download them again");
  auto shards = open_all(paths);
  for (const auto& [tensor, name] : files) {
    const auto at = static_cast<std::size_t>(std::distance(names.begin(), names.find(name)));
    MONARCH_CHECK_CODE(shards[at]->find(tensor) != nullptr, kCorrupt, "[monarch_io] ",
                       index.string(), " says that tensor ", quote(tensor), " is in ", name,
                       ", but it is not");
  }
  return std::make_shared<ShardedCheckpoint>(std::move(shards), folder.string());
}

}  // namespace

std::shared_ptr<const Checkpoint> open_sharded(const fs::path& folder, std::string_view stem) {
  const std::vector<fs::path> indices = matching(folder, stem, kIndexEnding);
  MONARCH_CHECK(indices.size() <= 1, "[monarch_io] ", folder.string(), " has ", indices.size(),
                " index files (", indices[0].filename().string(), ", ",
                indices[1].filename().string(), "); one was expected");
  if (!indices.empty()) return open_indexed(indices[0], folder);
  const std::vector<fs::path> files = matching(folder, stem, ".safetensors");
  MONARCH_CHECK_CODE(!files.empty(), kNotFound, "[monarch_io] the folder ", folder.string(),
                     " has no file ", stem, "*.safetensors");
  return std::make_shared<ShardedCheckpoint>(open_all(files), folder.string());
}

}  // namespace monarch::io
