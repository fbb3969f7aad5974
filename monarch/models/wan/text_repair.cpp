#include "monarch/models/wan/text_repair.h"

#include <utf8proc.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/html_entities.h"
#include "monarch/models/wan/utf8.h"

namespace monarch::models {
namespace {

constexpr std::array<std::pair<char32_t, std::u32string_view>, 22> kLigatures = {{
    {0x0132, U"IJ"},      {0x0133, U"ij"},      {0x0149, U"\u02bcn"}, {0x01C4, U"D\u017d"},
    {0x01C5, U"D\u017e"}, {0x01C6, U"d\u017e"}, {0x01C7, U"LJ"},      {0x01C8, U"Lj"},
    {0x01C9, U"lj"},      {0x01CA, U"NJ"},      {0x01CB, U"Nj"},      {0x01CC, U"nj"},
    {0x01F1, U"DZ"},      {0x01F2, U"Dz"},      {0x01F3, U"dz"},      {0xFB00, U"ff"},
    {0xFB01, U"fi"},      {0xFB02, U"fl"},      {0xFB03, U"ffi"},     {0xFB04, U"ffl"},
    {0xFB05, U"\u017ft"}, {0xFB06, U"st"},
}};

std::string normalize(const std::string& text, utf8proc_option_t form) {
  utf8proc_uint8_t* result = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | form);
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  MONARCH_CHECK_CODE(size >= 0, kInternal,
                     "[monarch_models] Unicode normalisation failed: ", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(result), static_cast<size_t>(size)};
}

// Full-width letters and half-width Katakana in their usual width; the ideographic space as a
// space.
std::u32string usual_width(std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : text) {
    if (c == 0x3000) {
      out += U' ';
    } else if (c >= 0xFF01 && c < 0xFFF0) {
      out += decode_utf8(normalize(encode_utf8(std::u32string_view(&c, 1)), UTF8PROC_COMPAT));
    } else {
      out += c;
    }
  }
  return out;
}

bool is_dropped_control(char32_t c) {
  return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F ||
         (c >= 0x206A && c < 0x2070) || c == 0xFEFF || (c >= 0xFFF9 && c < 0xFFFD);
}

// Length of a terminal escape (ESC [ digits and semicolons, one letter) at the start of `text`, or
// 0.
size_t terminal_escape(std::u32string_view text) {
  if (text.size() < 3 || text[0] != 0x1B || text[1] != U'[') return 0;
  size_t i = 2;
  while (i < text.size() && ((text[i] >= U'0' && text[i] <= U'9') || text[i] == U';')) ++i;
  if (i == text.size()) return 0;
  const char32_t letter = text[i] | 0x20;
  return letter >= U'a' && letter <= U'z' ? i + 1 : 0;
}

std::u32string repair_characters(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) {
      out += U'\'';
    } else if (c >= 0x201C && c <= 0x201F) {
      out += U'"';
    } else if (c == U'\r') {
      if (i + 1 == text.size() || text[i + 1] != U'\n') out += U'\n';
    } else if (c == 0x2028 || c == 0x2029) {
      out += U'\n';
    } else {
      out += c;
    }
  }
  return out;
}

std::u32string drop_controls(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    if (const size_t escape = terminal_escape(text.substr(i)); escape > 0) {
      i += escape;
      continue;
    }
    if (!is_dropped_control(text[i])) out += text[i];
    ++i;
  }
  return out;
}

std::string repair_line(std::string line, bool unescape) {
  // Every step but the entities shortens or keeps what it finds, so this ends; the bound guards
  // against a cycle.
  for (int round = 0; round < 100; ++round) {
    std::string next = unescape ? html_unescape_strict(line) : line;
    std::u32string text = repair_mojibake(decode_utf8(next));
    for (char32_t& c : text) {
      if (c >= 0x80 && c < 0xA0) c = windows_1252(static_cast<unsigned char>(c));
    }
    text = drop_controls(repair_characters(usual_width(split_ligatures(text))));
    next = normalize(encode_utf8(text), static_cast<utf8proc_option_t>(0));
    if (next == line) break;
    line = std::move(next);
  }
  return line;
}

}  // namespace

std::u32string split_ligatures(std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : text) {
    std::u32string_view letters(&c, 1);
    if (c >= 0x0132) {
      for (const auto& [ligature, split] : kLigatures) {
        if (c == ligature) letters = split;
      }
    }
    out += letters;
  }
  return out;
}

std::string repair_text(std::string_view utf8) {
  std::string out;
  bool unescape = true;  // until the first line with a '<', as in the original
  while (!utf8.empty()) {
    const size_t end = utf8.find('\n');
    const std::string_view line = utf8.substr(0, end == std::string_view::npos ? end : end + 1);
    if (line.find('<') != std::string_view::npos) unescape = false;
    out += repair_line(std::string(line), unescape);
    utf8.remove_prefix(line.size());
  }
  return out;
}

}  // namespace monarch::models
