#include "tests/parallel/processes.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

namespace monarch::parallel::test {
namespace {

// A port that was free a moment ago.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = ::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(socket);
  if (!bound) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

[[noreturn]] void run(const Launch& launch, const CommunicatorOptions& options,
                      const std::function<std::string(Communicator&)>& body, int out) {
  std::string text;
  int code = 0;
  try {
    const std::unique_ptr<Communicator> group = Communicator::join(launch, options);
    text = body(*group);
  } catch (const std::exception& error) {
    text = error.what();
    code = 1;
  }
  if (::write(out, text.data(), text.size()) != static_cast<ssize_t>(text.size())) code = 2;
  ::_exit(code);
}

std::string read_all(int in) {
  std::string text;
  char piece[4096];
  for (ssize_t count = 0; (count = ::read(in, piece, sizeof(piece))) > 0;)
    text.append(piece, static_cast<size_t>(count));
  return text;
}

}  // namespace

std::vector<Ended> in_processes(int size, const std::function<std::string(Communicator&)>& body,
                                const CommunicatorOptions& options) {
  Launch launch{.launcher = "a test", .size = size, .local_size = size, .port = free_port()};
  std::vector<pid_t> children;
  std::vector<int> outputs;
  for (int rank = 0; rank < size; ++rank) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    launch.rank = launch.local_rank = rank;
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      run(launch, options, body, ends[1]);
    }
    ::close(ends[1]);
    children.push_back(child);
    outputs.push_back(ends[0]);
  }
  std::vector<Ended> ended;
  for (int rank = 0; rank < size; ++rank) {
    Ended one{.message = read_all(outputs[static_cast<size_t>(rank)])};
    int status = 0;
    ::waitpid(children[static_cast<size_t>(rank)], &status, 0);
    one.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    ::close(outputs[static_cast<size_t>(rank)]);
    ended.push_back(std::move(one));
  }
  return ended;
}

}  // namespace monarch::parallel::test
