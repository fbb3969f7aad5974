// Prompt files: UTF-8 text, one prompt a line.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace monarch::io {

// White space at the end of each line is removed, empty lines are kept (so that two files of
// prompts can be matched by line), a byte order mark is skipped. Throws kCorrupt with the line that
// is not UTF-8, and kNotFound, kIo as MappedFile.
std::vector<std::string> read_prompts(const std::filesystem::path& path);
std::vector<std::string> parse_prompts(std::string_view text, const std::string& where);

}  // namespace monarch::io
