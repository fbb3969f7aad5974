#pragma once

#include <string>
#include <string_view>

namespace monarch::models {

// Code points of UTF-8 text; each ill-formed sequence becomes one U+FFFD.
std::u32string decode_utf8(std::string_view bytes);
std::string encode_utf8(std::u32string_view text);

}  // namespace monarch::models
