#include "tests/apps/run_binary.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace monarch::testing {

namespace {

FILE* start(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  return pipe;
}

RunResult finish(FILE* pipe) {
  RunResult result;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = fread(buffer.data(), 1, buffer.size(), pipe))
    result.output.append(buffer.data(), count);
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace

RunResult run_shell(const std::string& command) { return finish(start(command)); }

RunResult run_monarch(const std::string& arguments, const std::string& folder,
                      const std::string& before) {
  return run_shell("cd '" + folder + "' && " + before + " && '" MONARCH_BINARY "' " + arguments +
                   " 2>&1 </dev/null");
}

RunResult run_monarch_and_signal(const std::string& arguments, const std::function<bool()>& ready,
                                 int signal) {
  // The shell tells its number, then becomes the command.
  FILE* pipe = start("cd '" MONARCH_SOURCE_DIR "' && echo $$ && exec '" MONARCH_BINARY "' " +
                     arguments + " 2>&1 </dev/null");
  int process = 0;
  if (fscanf(pipe, "%d\n", &process) != 1) throw std::runtime_error("the shell did not start");
  for (int tries = 0; tries < 12000 && !ready(); ++tries) usleep(10000);
  kill(process, signal);
  return finish(pipe);
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "monarch-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace monarch::testing
