#include "monarch/io/prompts.h"

#include <algorithm>
#include <array>

#include "monarch/base/error.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

// What Python's str.rstrip removes, as the original programs do.
constexpr std::array<std::string_view, 19> kWideSpaces = {
    "\u0085", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
    "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200A",
    "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};

std::string_view without_trailing_space(std::string_view line) {
  while (!line.empty()) {
    const char last = line.back();
    if (last == ' ' || (last >= '\t' && last <= '\r') || (last >= '\x1c' && last <= '\x1f')) {
      line.remove_suffix(1);
      continue;
    }
    const auto* wide = std::find_if(kWideSpaces.begin(), kWideSpaces.end(),
                                    [&](std::string_view space) { return line.ends_with(space); });
    if (wide == kWideSpaces.end()) break;
    line.remove_suffix(wide->size());
  }
  return line;
}

}  // namespace

std::vector<std::string> parse_prompts(std::string_view text, const std::string& where) {
  constexpr std::string_view kByteOrderMark = "\uFEFF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::vector<std::string> prompts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    MONARCH_CHECK_CODE(is_valid_utf8(line), kCorrupt, "[monarch_io] ", where, " line ",
                       prompts.size() + 1, " is not UTF-8 text");
    prompts.emplace_back(without_trailing_space(line));
    text.remove_prefix(end);
    if (text.starts_with("\r\n")) text.remove_prefix(1);
    if (!text.empty()) text.remove_prefix(1);
  }
  return prompts;
}

std::vector<std::string> read_prompts(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return parse_prompts({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

}  // namespace monarch::io
