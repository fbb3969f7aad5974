// Files that come with the program.
#pragma once

#include <string>

namespace monarch::apps {

inline const std::string kShapesModel = "models/shapes";         // bidirectional, many steps
inline const std::string kStreamModel = "models/shapes_stream";  // causal, few steps

// `path` where it exists; else the same path in the repository that this program lies in, so that
// commands find the shapes model from any folder; else `path`.
std::string shipped_path(const std::string& path);

}  // namespace monarch::apps
