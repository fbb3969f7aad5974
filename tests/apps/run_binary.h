// Runs bin/monarch the way a shell does.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <string>

namespace monarch::testing {

struct RunResult {
  int exit_code = -1;
  std::string output;  // standard output and error together
};

// `arguments` as typed after "monarch", in `folder` (default: the source tree). `before` is shell
// text that runs first: "ulimit -f 8".
RunResult run_monarch(const std::string& arguments, const std::string& folder = MONARCH_SOURCE_DIR,
                      const std::string& before = "true");

// A whole shell command.
RunResult run_shell(const std::string& command);

// The command in two processes, as torchrun starts them.
std::array<RunResult, 2> run_two_processes(const std::string& arguments);

// Starts the command, waits until `ready` (asked every few milliseconds; at most two minutes), then
// sends it the signal.
RunResult run_monarch_and_signal(const std::string& arguments, const std::function<bool()>& ready,
                                 int signal);

// The bytes of a file; empty if there is none.
std::string read_file(const std::filesystem::path& path);

// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace monarch::testing
