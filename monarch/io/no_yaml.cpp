// Stands in for yaml.cpp in builds without yaml-cpp.
#include "monarch/base/error.h"
#include "monarch/io/yaml.h"

namespace monarch::io {

bool has_yaml() { return false; }

Json parse_yaml(std::string_view /*text*/, const std::string& where) {
  fail(ErrorCode::kUnsupported, "[config] cannot read ", where,
       ": built without yaml-cpp; install libyaml-cpp-dev and build again");
}

}  // namespace monarch::io
