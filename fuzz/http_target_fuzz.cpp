#include "fuzz/target.h"
#include "monarch/io/text.h"
#include "monarch/serving/endpoint.h"

// The address of a request. What passes is text without control characters.
void monarch::fuzz::run(std::span<const std::byte> bytes) {
  using namespace monarch::serving;
  HttpRequest request;
  parse_target({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, request);
  const auto check = [](const std::string& text) {
    for (const char c : text)
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
    if (!io::is_valid_utf8(text)) std::abort();
  };
  if (!request.path.starts_with('/')) std::abort();
  check(request.path);
  for (const auto& [key, value] : request.query) {
    check(key);
    check(value);
  }
}
