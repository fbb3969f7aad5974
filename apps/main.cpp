// The one binary: `monarch COMMAND ...`. Parses, calls a library, prints; errors become one line
// and an exit code.
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <new>

#include "apps/command.h"
#include "apps/progress.h"
#include "apps/usage_error.h"
#include "monarch/base/error.h"
#include "monarch/base/heap.h"
#include "monarch/base/log.h"

namespace monarch::apps {
namespace {

volatile std::sig_atomic_t signals_seen = 0;

void on_signal(int /*signal*/) {
  signals_seen = signals_seen + 1;
  if (signals_seen > 1) _exit(kExitFailure);
}

int exit_code_of(ErrorCode code) {
  return code == ErrorCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

// An error of Torch or of the standard library, in a line.
std::string describe_foreign(const std::exception& error) {
  std::string text = error.what();
  // Torch throws no type of its own when the CPU's memory ends; allocators and drivers word it in
  // three ways.
  constexpr std::string_view kAskedFor = "you tried to allocate ";
  const bool no_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
                         text.find("DefaultCPUAllocator") != std::string::npos ||
                         text.find("out of memory") != std::string::npos;
  if (no_memory) {
    const std::size_t at = text.find(kAskedFor);
    const std::string asked =
        at == std::string::npos
            ? ""
            : ": " + format_bytes(std::strtoull(&text[at + kAskedFor.size()], nullptr, 10)) +
                  " at once could not be had";
    return "out of memory" + asked +
           "; use --low-memory, --dtype bf16, a smaller --size or fewer --frames (--dry-run tells "
           "what a video needs)";
  }
  // Torch's messages carry a C++ backtrace after the first line, which is of no use to the reader.
  return "internal error: " + text.substr(0, text.find('\n'));
}

int run(int argc, char** argv) {
  CLI::App app{
      "Video diffusion with Monarch attention: from a prompt to a video, a stream or a training "
      "run.",
      "monarch"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "monarch 0.1.0");
  app.footer("Exit codes: 0 done, 1 the work failed, 2 the command line or the config is wrong.");
  add_generate(app);
  add_inspect(app);
  add_convert(app);
  add_evaluate(app);
  add_compare(app);
  add_init(app);
  add_bench(app);
  add_parity(app);
  add_serve(app);
  add_train(app);
  add_verify(app);
  try {
    app.parse(argc, argv);
    return kExitSuccess;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::cerr << "monarch: " << describe_usage_error(app, error, argc > 1 ? argv[1] : "") << "\n";
    return kExitUsage;
  } catch (const CommandFailed& failed) {
    return failed.exit_code;
  } catch (const Error& error) {
    std::cerr << "monarch: " << error.what() << "\n";
    return exit_code_of(error.code());
  } catch (const std::exception& error) {
    std::cerr << "monarch: " << describe_foreign(error) << "\n";
    return kExitFailure;
  }
}

}  // namespace

bool interrupted() { return signals_seen > 0; }

void install_signal_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is an error like a full disk, with a text
}

}  // namespace monarch::apps

int main(int argc, char** argv) {
  monarch::keep_freed_memory();
  monarch::apps::install_signal_handlers();
  monarch::set_log_sink([](monarch::LogLevel level, std::string_view line) {
    if (level >= monarch::LogLevel::kWarning) std::cerr << "monarch: " << line << "\n";
  });
  return monarch::apps::run(argc, argv);
}
