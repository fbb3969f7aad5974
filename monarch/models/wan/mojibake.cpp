// UTF-8 read as a single-byte encoding, the commonest damage of text from the web.
#include <optional>
#include <string>
#include <utility>
#include <vector>

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

// A UTF-8 sequence of several bytes read character by character.
struct Sequence {
  size_t length = 0;  // in characters; 0: none
  char32_t code = 0;  // what it stands for
  bool sign = false;  // one of its characters is not a letter
};

Sequence sequence_at(std::u32string_view text) {
  const std::optional<unsigned char> lead = text.empty() ? std::nullopt : to_byte(text[0]);
  if (!lead || *lead < 0xC2 || *lead > 0xF4) return {};
  const size_t length = *lead < 0xE0 ? 2 : *lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return {};
  std::string bytes(1, static_cast<char>(*lead));
  Sequence found{.length = length};
  for (const char32_t c : text.substr(1, length - 1)) {
    const std::optional<unsigned char> byte = to_byte(c);
    if (!byte) return {};
    bytes.push_back(static_cast<char>(*byte));
    found.sign = found.sign || !is_letter(c);
  }
  const std::u32string decoded = decode_utf8(bytes);
  if (decoded.size() != 1 || decoded[0] == 0xFFFD) return {};
  found.code = decoded[0];
  return found;
}

// Hard to explain as undamaged text: "Ã¶", "Â°" and "ÃŸ", as no language puts these two letters
// before a sign or one of windows-1252's few letters beyond Latin-1, or a longer sequence with a
// sign in it ("â€™").
bool is_suspicious(std::u32string_view text, const Sequence& sequence) {
  if (sequence.length > 2) return sequence.sign;
  return (text[0] == 0xC2 || text[0] == 0xC3) && (sequence.sign || text[1] > 0xFF);
}

}  // namespace

std::u32string repair_mojibake(std::u32string_view text) {
  // Neighbouring sequences are decoded together if one of them is suspicious, or two have signs
  // ("Ð¸Ð²"); all sequences are if the whole text consists of them and ASCII and one is suspicious.
  struct Run {
    size_t begin, end;
    std::u32string decoded;
    bool suspicious;
  };
  std::vector<Run> runs;
  bool whole = true;
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    Run run{i, i, {}, false};
    int signs = 0;
    for (Sequence next = sequence_at(text.substr(run.end)); next.length > 0;
         next = sequence_at(text.substr(run.end))) {
      run.suspicious = run.suspicious || is_suspicious(text.substr(run.end), next);
      signs += next.sign ? 1 : 0;
      run.decoded += next.code;
      run.end += next.length;
    }
    any = any || run.suspicious;
    run.suspicious = run.suspicious || signs >= 2;
    if (run.end > run.begin) {
      i = run.end;
      runs.push_back(std::move(run));
    } else {
      whole = whole && text[i] < 0x80;
      ++i;
    }
  }
  std::u32string out;
  size_t copied = 0;
  for (const Run& run : runs) {
    if (!run.suspicious && !(whole && any)) continue;
    out += text.substr(copied, run.begin - copied);
    out += run.decoded;
    copied = run.end;
  }
  out += text.substr(copied);
  return out;
}

}  // namespace monarch::models
