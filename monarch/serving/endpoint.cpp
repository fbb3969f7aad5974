#include "monarch/serving/endpoint.h"

#include "monarch/io/text.h"
#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decode(std::string_view text, bool plus_is_space) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus_is_space) c = ' ';
    if (c == '%') {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) throw HttpError(400, "the address has a bad escape after %");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      throw HttpError(400, "the address has control characters");
    }
    result += c;
  }
  if (!io::is_valid_utf8(result)) throw HttpError(400, "the address is not UTF-8 text");
  return result;
}

}  // namespace

void parse_target(std::string_view target, HttpRequest& request) {
  if (!target.starts_with('/')) throw HttpError(400, "the address must begin with /");
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = decode(target.substr(0, question), false);
  std::string_view query = target.substr(std::min(question + 1, target.size()));
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (pair.empty()) continue;
    std::string key = decode(pair.substr(0, equals), true);
    if (request.query.contains(key)) {
      throw HttpError(400, "the address has " + io::quote(key, 40) + " twice");
    }
    request.query.emplace(std::move(key),
                          decode(pair.substr(std::min(equals + 1, pair.size())), true));
  }
}

}  // namespace monarch::serving
