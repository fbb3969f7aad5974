#include "monarch/models/wan/html_entities.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>

#include "monarch/models/wan/text_repair.h"
#include "monarch/models/wan/utf8.h"

namespace monarch::models {
namespace {

struct Entity {
  std::string_view name, value;
  bool without_semicolon;
};

constexpr Entity kEntities[] = {
#include "monarch/models/wan/html_entities.inc"
};

constexpr std::array<std::uint16_t, 32> kWindows1252 = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};

constexpr std::int64_t kTooLarge = 0x110000;

bool is_digit(char c, bool hex) {
  const auto byte = static_cast<unsigned char>(c);
  return hex ? std::isxdigit(byte) != 0 : byte >= '0' && byte <= '9';
}

// Appends the character with this number under the HTML5 rules.
void append_number(std::int64_t number, std::string& out) {
  char32_t code = 0;
  if (number == 0 || number >= kTooLarge || (number >= 0xD800 && number < 0xE000)) {
    code = 0xFFFD;
  } else if (number >= 0x80 && number < 0xA0) {
    code = windows_1252(static_cast<unsigned char>(number));
  } else if ((number < 0x20 && number != '\t' && number != '\n' && number != '\f' &&
              number != '\r') ||
             number == 0x7F || (number >= 0xFDD0 && number < 0xFDF0) ||
             (number & 0xFFFE) == 0xFFFE) {
    return;
  } else {
    code = static_cast<char32_t>(number);
  }
  out += encode_utf8(std::u32string_view(&code, 1));
}

// Reads "#123;" or "#x7B" at `at` (just behind '&'); returns the position behind it, or `at` if
// there is none.
size_t read_number(std::string_view text, size_t at, std::int64_t& number) {
  size_t i = at;
  if (i >= text.size() || text[i] != '#') return at;
  ++i;
  const bool hex = i < text.size() && (text[i] == 'x' || text[i] == 'X');
  if (hex) ++i;
  const size_t first = i;
  number = 0;
  for (; i < text.size() && is_digit(text[i], hex); ++i) {
    const char c = text[i];
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    number = std::min(number * (hex ? 16 : 10) + digit, kTooLarge);
  }
  if (i == first) return at;
  if (i < text.size() && text[i] == ';') ++i;
  return i;
}

// Up to 32 characters that may form a name; counts characters, not bytes.
size_t name_length(std::string_view text) {
  size_t characters = 0;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' ||
        c == ';')
      break;
    const bool continues = (static_cast<unsigned char>(c) & 0xC0) == 0x80;
    if (!continues && ++characters > 32) break;
  }
  return i;
}

// The capital form of an entity's value; "ß" and the ligatures have two letters.
std::string to_upper(std::string_view value) {
  std::u32string upper;
  for (const char32_t code : split_ligatures(decode_utf8(value))) {
    if (code == 0xDF) {
      upper += U"SS";
    } else {
      upper += static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
    }
  }
  return encode_utf8(upper);
}

}  // namespace

char32_t windows_1252(unsigned char byte) { return kWindows1252.at(byte - 0x80U); }

std::optional<std::string_view> html_entity(std::string_view name, bool with_semicolon) {
  const auto* found =
      std::lower_bound(std::begin(kEntities), std::end(kEntities), name,
                       [](const Entity& e, std::string_view n) { return e.name < n; });
  if (found == std::end(kEntities) || found->name != name) return std::nullopt;
  if (!with_semicolon && !found->without_semicolon) return std::nullopt;
  return found->value;
}

std::string html_unescape(std::string_view text) {
  std::string out;
  size_t i = 0;
  while (i < text.size()) {
    if (text[i] != '&') {
      out += text[i++];
      continue;
    }
    std::int64_t number = 0;
    const size_t behind = read_number(text, i + 1, number);
    if (behind > i + 1) {
      append_number(number, out);
      i = behind;
      continue;
    }
    const std::string_view name = text.substr(i + 1, name_length(text.substr(i + 1)));
    const bool semicolon = i + 1 + name.size() < text.size() && text[i + 1 + name.size()] == ';';
    if (semicolon) {
      if (const auto value = html_entity(name, true)) {
        out += *value;
        i += name.size() + 2;
        continue;
      }
    }
    size_t length = name.size();
    std::optional<std::string_view> value;
    for (; length >= 2 && !value; --length) value = html_entity(name.substr(0, length), false);
    if (value) {
      out += *value;
      i += length + 2;  // '&' and the name, whose length the loop has passed by one
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::string html_unescape_strict(std::string_view text) {
  std::string out;
  size_t i = 0;
  while (i < text.size()) {
    // &#?[0-9A-Za-z]{1,24};
    size_t end = i + 1;
    if (text[i] == '&') {
      if (end < text.size() && text[end] == '#') ++end;
      const size_t first = end;
      while (end < text.size() && std::isalnum(static_cast<unsigned char>(text[end])) != 0) ++end;
      if (end < text.size() && text[end] == ';' && end > first && end - first <= 24) {
        const std::string_view reference = text.substr(i, end + 1 - i);
        const std::string_view name = reference.substr(1, reference.size() - 2);
        std::string value(reference);
        if (name[0] == '#') {
          const std::string decoded = html_unescape(reference);
          if (decoded.find(';') == std::string::npos) value = decoded;
        } else if (const auto entity = html_entity(name, true)) {
          value = *entity;
        } else if (html_unescape(reference) == reference) {
          std::string lower(name);
          std::transform(lower.begin(), lower.end(), lower.begin(),
                         [](unsigned char c) { return std::tolower(c); });
          const bool capitals = std::none_of(name.begin(), name.end(),
                                             [](unsigned char c) { return std::islower(c); });
          if (const auto base = html_entity(lower, true); base && capitals) value = to_upper(*base);
        }
        out += value;
        i = end + 1;
        continue;
      }
    }
    out += text[i++];
  }
  return out;
}

}  // namespace monarch::models
