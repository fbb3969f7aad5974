// Configuration files: YAML to JSON, in the dialect of the original Python programs (OmegaConf over
// PyYAML).
//
// Plain scalars become numbers, bools (true/false, yes/no, on/off), null, or strings; "1e-5" is a
// float as well as "1.0e-05". Quoted scalars are strings.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "monarch/base/options_reader.h"

namespace monarch::io {

// Throws kInvalidArgument naming file, line and what is wrong: bad syntax, duplicate keys, tags and
// merge keys, invalid UTF-8, several documents; kUnsupported when built without yaml-cpp.
Json parse_yaml(std::string_view text, const std::string& where);

// A file whose top level is a mapping; an empty file is an empty mapping. kNotFound, kIo as
// MappedFile.
Json read_yaml(const std::filesystem::path& path);

// `over` on top of `base`: mappings are merged key by key at any depth, everything else is
// replaced.
Json deep_merge(Json base, const Json& over);

bool has_yaml();  // whether this build can read YAML

}  // namespace monarch::io
