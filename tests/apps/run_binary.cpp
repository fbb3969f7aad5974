#include "tests/apps/run_binary.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

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

std::array<RunResult, 2> run_two_processes(const std::string& arguments) {
  const std::string place =
      "cd '" MONARCH_SOURCE_DIR
      "' && OMP_NUM_THREADS=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=" +
      std::to_string(20000 + getpid() % 20000);
  std::array<FILE*, 2> pipes{};
  for (int rank = 0; rank < 2; ++rank) {
    const std::string number = std::to_string(rank);
    pipes[static_cast<std::size_t>(rank)] =
        start(place + " RANK=" + number + " LOCAL_RANK=" + number +
              " timeout 120 '" MONARCH_BINARY "' " + arguments + " 2>&1 </dev/null");
  }
  RunResult first = finish(pipes[0]);
  return {std::move(first), finish(pipes[1])};
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

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
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
