// The web page, compiled into the binary from web/: no request reaches the file system.
#pragma once

#include <string_view>

namespace monarch::serving {

struct StaticFile {
  std::string_view path;  // "/index.html"
  std::string_view content_type;
  std::string_view bytes;
};

const StaticFile* find_static_file(std::string_view path);  // null: there is none

}  // namespace monarch::serving
