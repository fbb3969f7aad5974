// UTF-8 read as a single-byte encoding, the commonest damage of text from the web.
#include <optional>

#include "monarch/models/wan/html_entities.h"
#include "monarch/models/wan/text_repair.h"
#include "monarch/models/wan/utf8.h"

namespace monarch::models {
namespace {

// The byte that windows-1252 (with its gaps, and so Latin-1, filled in) reads as this character.
std::optional<unsigned char> to_byte(char32_t c) {
  if (c < 0x100) return static_cast<unsigned char>(c);
  for (unsigned byte = 0x80; byte < 0xA0; ++byte) {
    if (windows_1252(static_cast<unsigned char>(byte)) == c)
      return static_cast<unsigned char>(byte);
  }
  return std::nullopt;
}

bool is_letter(char32_t c) {
  return (c >= 0xC0 && c < 0x100 && c != 0xD7 && c != 0xF7) || c == 0x152 || c == 0x153 ||
         c == 0x160 || c == 0x161 || c == 0x178 || c == 0x17D || c == 0x17E || c == 0x192;
}

// Whether the sequence of `length` characters at `text` is hard to explain as undamaged text: "Ã¶"
// and "Â°", whose first letter no language puts before a sign, or a longer sequence with a sign in
// it ("â€™").
bool is_suspicious(std::u32string_view text, size_t length) {
  bool sign = false;
  for (size_t k = 1; k < length; ++k) sign = sign || !is_letter(text[k]);
  if (length > 2) return sign;
  return sign && (text[0] == 0xC2 || text[0] == 0xC3);
}

}  // namespace

std::u32string repair_mojibake(std::u32string_view text) {
  std::string bytes;
  for (const char32_t c : text) {
    const std::optional<unsigned char> byte = to_byte(c);
    if (!byte) return std::u32string(text);
    bytes.push_back(static_cast<char>(*byte));
  }
  const std::u32string decoded = decode_utf8(bytes);
  if (decoded.size() == text.size() || decoded.find(0xFFFD) != std::u32string::npos)
    return std::u32string(text);
  size_t at = 0;
  bool suspicious = false;
  for (const char32_t c : decoded) {
    const size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    suspicious = suspicious || (length > 1 && is_suspicious(text.substr(at), length));
    at += length;
  }
  return suspicious ? decoded : std::u32string(text);
}

}  // namespace monarch::models
