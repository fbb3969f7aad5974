// What every command of the binary shares: registration, exit codes, progress on a terminal.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace monarch::apps {

// Exit codes, as documented in docs/cli.md.
inline constexpr int kExitSuccess = 0;
inline constexpr int kExitFailure = 1;  // the work could not be done
inline constexpr int kExitUsage =
    2;  // the command line or the config asks for something impossible

// Thrown by a command that has already said what is wrong (parity with failing cases, for
// instance).
struct CommandFailed {
  int exit_code = kExitFailure;
};

// Each registers one subcommand; the subcommand's callback does the work and throws monarch::Error
// or CommandFailed.
void add_bench(CLI::App& app);
void add_compare(CLI::App& app);
void add_convert(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_generate(CLI::App& app);
void add_init(CLI::App& app);
void add_inspect(CLI::App& app);
void add_parity(CLI::App& app);
void add_serve(CLI::App& app);
void add_train(CLI::App& app);
void add_verify(CLI::App& app);

// True once Ctrl-C (SIGINT) or SIGTERM arrived; a second one ends the process at once.
bool interrupted();
void install_signal_handlers();

}  // namespace monarch::apps
