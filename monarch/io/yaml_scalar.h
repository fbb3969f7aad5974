// What a plain YAML scalar means: null, bool, integer, float or string.
#pragma once

#include <string>

#include "monarch/base/options_reader.h"

namespace monarch::io {

// YAML 1.1 as PyYAML resolves it, with OmegaConf's floats (an exponent needs no dot); without
// sexagesimal numbers and dates, which stay strings.
Json plain_yaml_scalar(const std::string& text);

}  // namespace monarch::io
