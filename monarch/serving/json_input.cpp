#include "monarch/serving/json_input.h"

#include <algorithm>
#include <set>
#include <vector>

#include "monarch/io/text.h"
#include "monarch/serving/http_error.h"

namespace monarch::serving {

std::string one_line(std::string_view text, std::size_t limit) {
  std::string line = io::quote(text, limit);
  return line.substr(1, line.size() - 2);  // without the quotes
}

Json parse_object(std::string_view text, std::string_view what, int max_depth) {
  const std::string name(what);
  if (!io::is_valid_utf8(text)) throw HttpError(400, name + " is not UTF-8 text");
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth >= max_depth) {
      throw HttpError(400, str_cat(name, " is nested deeper than ", max_depth, " levels"));
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw HttpError(400,
                      name + " has the key " + io::quote(parsed.get<std::string>(), 40) + " twice");
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    throw HttpError(400, str_cat(name, " is not JSON: ",
                                 error.byte > text.size() ? "it ends too early" : "unexpected text",
                                 " at byte ", error.byte));
  } catch (const Json::out_of_range&) {
    throw HttpError(400, name + " has a number that is too large");
  }
  if (!json.is_object()) {
    throw HttpError(400, str_cat(name, " must be a JSON object, but is ", json.type_name()));
  }
  return json;
}

void check_range(std::string_view key, double value, double low, double high) {
  if (value >= low && value <= high) return;
  throw HttpError(400, str_cat(key, " is ", value, "; ", low, " to ", high, " was expected"));
}

void check_prompt(std::string_view prompt, std::size_t max_bytes) {
  if (prompt.size() > max_bytes) {
    throw HttpError(400, str_cat("the prompt has ", prompt.size(), " bytes; at most ", max_bytes,
                                 " are allowed"));
  }
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  if (std::ranges::all_of(prompt, is_space)) {
    throw HttpError(400, "the prompt is empty; say what the video should show");
  }
  const auto is_control = [&](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && !is_space(c)) || c == 0x7f;
  };
  if (std::ranges::any_of(prompt, is_control)) {
    throw HttpError(400, "the prompt has control characters; give plain text");
  }
}

}  // namespace monarch::serving
