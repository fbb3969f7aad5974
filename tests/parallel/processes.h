// Runs a function in several processes that form a group, as a launcher would start them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "monarch/parallel/communicator.h"

namespace monarch::parallel::test {

struct Ended {
  int code = 0;         // exit status, or minus the signal
  std::string message;  // what the body returned or threw
};

// Forks `size` processes; each joins and runs `body`, whose text comes back. The caller must not
// have started threads.
std::vector<Ended> in_processes(int size, const std::function<std::string(Communicator&)>& body,
                                const CommunicatorOptions& options = {});

}  // namespace monarch::parallel::test
