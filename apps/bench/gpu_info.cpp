#include "apps/bench/gpu_info.h"

#include <cctype>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

// What stands behind `key` in the first line that starts with it.
std::string behind(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t", key.size());
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

// "NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build ..." -> "570.86.15"
std::string version_in(const std::string& text) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (std::isdigit(static_cast<unsigned char>(word.front())) != 0) return word;
  }
  return "";
}

}  // namespace

GpuInfo read_gpu_info(const fs::path& proc) {
  std::set<std::string> models;
  std::error_code none;
  for (const fs::directory_entry& card : fs::directory_iterator(proc / "gpus", none)) {
    models.insert(behind(card.path() / "information", "Model:"));
  }
  models.erase("");
  GpuInfo info;
  for (const std::string& model : models) info.model += (info.model.empty() ? "" : ", ") + model;
  info.driver = version_in(behind(proc / "version", "NVRM version:"));
  return info;
}

}  // namespace monarch::apps
