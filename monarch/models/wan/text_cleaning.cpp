#include "monarch/models/wan/text_cleaning.h"

#include "monarch/models/wan/html_entities.h"
#include "monarch/models/wan/text_repair.h"
#include "monarch/models/wan/utf8.h"

namespace monarch::models {
namespace {

// Python's str.isspace, and its regular expressions' \s.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string collapse_spaces(std::string_view utf8) {
  std::u32string out;
  bool pending = false;  // a space that is written only if something follows
  for (const char32_t c : decode_utf8(utf8)) {
    if (is_space(c)) {
      pending = !out.empty();
      continue;
    }
    if (pending) out += U' ';
    pending = false;
    out += c;
  }
  return encode_utf8(out);
}

}  // namespace

std::string clean_text(std::string_view utf8) {
  const std::string valid = encode_utf8(decode_utf8(utf8));
  return collapse_spaces(html_unescape(html_unescape(repair_text(valid))));
}

}  // namespace monarch::models
