// The Range header (RFC 9110, section 14): one part of a file, so that browsers can seek.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace monarch::serving {

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
  std::uint64_t size() const { return last - first + 1; }
};

// The part of `size` bytes that the header asks for. Nothing: send all (another unit, several
// ranges or a malformed header, which the RFC lets a server ignore). Throws HttpError(416) if it
// asks for bytes behind the end.
std::optional<ByteRange> parse_byte_range(std::string_view header, std::uint64_t size);

// "bytes 0-99/1234"
std::string content_range(const ByteRange& range, std::uint64_t size);

}  // namespace monarch::serving
