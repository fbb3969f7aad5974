#include "apps/shipped.h"

#include <filesystem>
#include <system_error>

namespace monarch::apps {

namespace fs = std::filesystem;

std::string shipped_path(const std::string& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return path;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  for (fs::path folder = program.parent_path(); !folder.empty(); folder = folder.parent_path()) {
    if (fs::exists(folder / path, ignored)) return (folder / path).string();
    if (folder == folder.parent_path()) break;
  }
  return path;
}

}  // namespace monarch::apps
