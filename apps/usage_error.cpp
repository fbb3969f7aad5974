#include "apps/usage_error.h"

#include <vector>

#include "monarch/base/suggest.h"

namespace monarch::apps {
namespace {

std::vector<const CLI::App*> children(const CLI::App& command) {
  const auto all = command.get_subcommands([](const CLI::App*) { return true; });
  return {all.begin(), all.end()};
}

std::vector<std::string> known_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  for (const CLI::App* child : children(command)) names.push_back(child->get_name());
  return names;
}

std::string unknown(const CLI::App& command, std::string given) {
  given = given.substr(0, given.find('='));
  return "unknown " + std::string(given.starts_with("-") ? "flag '" : "command or argument '") +
         given + "'" + did_you_mean(given, known_names(command));
}

// What an option takes, by the name of its type in the help.
std::string value_of(const CLI::App& command, const std::string& option_name) {
  const CLI::Option* option = command.get_option_no_throw(option_name);
  const std::string type = option == nullptr ? "" : option->get_type_name();
  if (type.starts_with("INT")) return "an integer";
  if (type.starts_with("UINT")) return "an integer of 0 or more";
  if (type.starts_with("FLOAT")) return "a number";
  return "a value";
}

// The parser's own sentences, shortened to what the reader has to know.
std::string reworded(const CLI::App& command, const std::string& text) {
  constexpr std::string_view kConvert = "Could not convert: ";
  const std::string option = text.substr(0, text.find(": "));
  if (text.starts_with("A subcommand is required")) {
    std::string names;
    for (const CLI::App* child : children(command))
      names += (names.empty() ? "" : ", ") + child->get_name();
    return "give a command: " + names;
  }
  if (const std::size_t end = text.find(" is required"); end != std::string::npos)
    return "missing '" + text.substr(0, end) + "'";
  if (text.starts_with(kConvert)) {
    const std::size_t equals = text.find(" = ");
    const std::string name = text.substr(kConvert.size(), equals - kConvert.size());
    return name + ' ' + text.substr(equals + 3) + ": " + value_of(command, name) + " was expected";
  }
  if (text.ends_with(" missing")) return option + " needs " + value_of(command, option);
  if (const std::size_t at = text.find("At Most 1 required but received "); at != std::string::npos)
    return option + " was given " + text.substr(text.rfind(' ') + 1) + " times; give it once";
  return text;
}

}  // namespace

std::string describe_usage_error(const CLI::App& app, const CLI::ParseError& error,
                                 const std::string& first_argument) {
  const CLI::App* command = &app;
  std::string path = "monarch ";
  for (auto parsed = app.get_subcommands(); !parsed.empty(); parsed = command->get_subcommands()) {
    command = parsed.front();
    path += command->get_name() + ' ';
  }
  const std::vector<std::string> remaining = app.remaining(/*recurse=*/true);
  const bool extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !remaining.empty();
  std::string problem;
  if (extra || (command == &app && !first_argument.empty())) {
    problem = unknown(*command, extra ? remaining.front() : first_argument);
  } else {
    problem = reworded(*command, error.what());
  }
  return problem + "; see " + path + "--help";
}

}  // namespace monarch::apps
