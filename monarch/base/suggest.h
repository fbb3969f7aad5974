#pragma once

#include <span>
#include <string>
#include <string_view>

namespace monarch {

// The candidate with the smallest edit distance to `given`, if it is near enough to be a typing
// mistake; else "".
std::string nearest_name(std::string_view given, std::span<const std::string> candidates);

// "; did you mean 'x'?" or "", to end an error message.
std::string did_you_mean(std::string_view given, std::span<const std::string> candidates);

}  // namespace monarch
