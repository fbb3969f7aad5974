#include "monarch/models/wan/utf8.h"

#include <cstddef>

namespace monarch::models {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

struct Lead {
  int length;               // bytes in the sequence, 0: not a lead byte
  unsigned char low, high;  // range of the second byte (excludes overlong forms and surrogates)
};

Lead classify(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0) {
    return {3, static_cast<unsigned char>(byte == 0xE0 ? 0xA0 : 0x80),
            static_cast<unsigned char>(byte == 0xED ? 0x9F : 0xBF)};
  }
  if (byte < 0xF5) {
    return {4, static_cast<unsigned char>(byte == 0xF0 ? 0x90 : 0x80),
            static_cast<unsigned char>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
  return {0, 0, 0};
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string text;
  text.reserve(bytes.size());
  size_t i = 0;
  while (i < bytes.size()) {
    const auto first = static_cast<unsigned char>(bytes[i++]);
    const Lead lead = classify(first);
    if (lead.length <= 1) {
      text.push_back(lead.length == 1 ? first : kReplacement);
      continue;
    }
    char32_t code = first & (0xFFU >> (lead.length + 1));
    int taken = 1;
    while (taken < lead.length && i < bytes.size()) {
      const auto next = static_cast<unsigned char>(bytes[i]);
      const unsigned char low = taken == 1 ? lead.low : 0x80;
      const unsigned char high = taken == 1 ? lead.high : 0xBF;
      if (next < low || next > high) break;
      code = (code << 6) | (next & 0x3FU);
      ++i;
      ++taken;
    }
    text.push_back(taken == lead.length ? code : kReplacement);
  }
  return text;
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  const auto put = [&](char32_t value) { bytes.push_back(static_cast<char>(value)); };
  for (char32_t code : text) {
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) code = kReplacement;
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | (code >> 6));
      put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | (code >> 12));
      put(0x80 | ((code >> 6) & 0x3F));
      put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3F));
      put(0x80 | ((code >> 6) & 0x3F));
      put(0x80 | (code & 0x3F));
    }
  }
  return bytes;
}

}  // namespace monarch::models
