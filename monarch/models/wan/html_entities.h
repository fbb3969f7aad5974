// HTML character references, as browsers and Python's html.unescape read them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace monarch::models {

// The characters of a windows-1252 byte 0x80..0x9F; the five unassigned bytes stand for themselves.
char32_t windows_1252(unsigned char byte);

// The value (UTF-8) of a name without '&' and ';'. `with_semicolon` tells whether a semicolon
// follows: only about a hundred old names count without it.
std::optional<std::string_view> html_entity(std::string_view name, bool with_semicolon);

// Replaces every reference: &#38; &#x26; &amp; and, by the longest prefix, old names without
// semicolon (&notit; is "¬it;"). Numbers follow HTML5: 128..159 are windows-1252, 0, surrogates and
// numbers above 0x10FFFF give U+FFFD, other characters that HTML forbids give nothing.
std::string html_unescape(std::string_view text);

// The stricter reading of ftfy: references need their semicolon and must decode as a whole; names
// written in capitals mean the capital letter (&NTILDE; is "Ñ").
std::string html_unescape_strict(std::string_view text);

}  // namespace monarch::models
