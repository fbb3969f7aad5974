#include "monarch/serving/byte_range.h"

#include <algorithm>
#include <charconv>

#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

// All of `text` as a number; numbers too large for 64 bits are as good as the largest.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || rest != end || error == std::errc::invalid_argument) return std::nullopt;
  return error == std::errc::result_out_of_range ? UINT64_MAX : value;
}

}  // namespace

std::optional<ByteRange> parse_byte_range(std::string_view header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return std::nullopt;
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view left = header.substr(0, dash);
  const std::string_view right = header.substr(dash + 1);
  const auto first = parse_number(left);
  const auto last = parse_number(right);
  if ((!left.empty() && !first) || (!right.empty() && !last) || (!first && !last)) {
    return std::nullopt;
  }
  if (first && last && *last < *first) return std::nullopt;
  const bool satisfiable = first ? *first < size : *last > 0 && size > 0;
  if (!satisfiable) {
    throw HttpError(416, str_cat("the range starts behind the end of ", size, " bytes"));
  }
  if (!first) return ByteRange{size - std::min(*last, size), size - 1};
  return ByteRange{*first, last ? std::min(*last, size - 1) : size - 1};
}

std::string content_range(const ByteRange& range, std::uint64_t size) {
  return str_cat("bytes ", range.first, '-', range.last, '/', size);
}

}  // namespace monarch::serving
