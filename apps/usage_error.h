// What a wrong command line is told, in one line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace monarch::apps {

// What is wrong, what was expected, and where help is; the nearest name for one that is unknown.
// `first_argument` is the word after "monarch", or empty.
std::string describe_usage_error(const CLI::App& app, const CLI::ParseError& error,
                                 const std::string& first_argument);

}  // namespace monarch::apps
