// Small text helpers for messages about outside bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace monarch::io {

// `text` in single quotes, fit for one line of an error message: control bytes and invalid UTF-8
// are written as \xNN, and anything beyond `limit` bytes is cut with an ellipsis.
std::string quote(std::string_view text, std::size_t limit = 120);

bool is_valid_utf8(std::string_view text);

// "512 bytes", "7.1 KB", "11.4 GB" (powers of 1000, as downloads are measured).
std::string byte_string(std::uint64_t bytes);

}  // namespace monarch::io
