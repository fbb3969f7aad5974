// JSON from strangers: size, depth and repeated keys are refused before anything reads the values.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "monarch/base/error.h"

namespace monarch::serving {

using Json = nlohmann::json;

// An object. Throws HttpError(400): not JSON, not UTF-8, not an object, a key twice, nested deeper
// than `max_depth`. `what` names it in messages ("the message").
Json parse_object(std::string_view text, std::string_view what, int max_depth = 4);

// `text` as one printable line of at most `limit` bytes.
std::string one_line(std::string_view text, std::size_t limit = 300);

// Throws HttpError(400) naming key, value and range.
void check_range(std::string_view key, double value, double low, double high);

// Throws HttpError(400): empty (but for white space), longer than `max_bytes`, control characters.
void check_prompt(std::string_view prompt, std::size_t max_bytes);

}  // namespace monarch::serving
