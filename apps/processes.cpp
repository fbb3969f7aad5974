#include "apps/processes.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "monarch/base/error.h"

namespace monarch::apps {

void share_cores(const parallel::Launch& launch) {
  if (launch.local_size == 1 || parallel::environment_variable("OMP_NUM_THREADS")) return;
  at::set_num_threads(std::max(1, at::get_num_threads() / static_cast<int>(launch.local_size)));
}

void together(const parallel::Launch& launch, const parallel::CommunicatorOptions& options,
              const std::function<void(const std::shared_ptr<parallel::Communicator>&)>& body) {
  const std::shared_ptr<parallel::Communicator> group =
      parallel::Communicator::join(launch, options);
  try {
    body(group);
  } catch (const std::exception& error) {
    group->leave(error.what());
    throw;
  }
}

parallel::Launch sequence_launch(const std::string& command, std::int64_t sequence_parallel_size) {
  if (sequence_parallel_size == 1) return {};
  const parallel::Launch launch = parallel::read_launch();
  MONARCH_CHECK(launch.size == sequence_parallel_size, "[", command,
                "] --sequence-parallel-size is ", sequence_parallel_size, ", but ", launch.launcher,
                " started ", launch.size == 1 ? "one process" : str_cat(launch.size, " processes"),
                "; start as many (torchrun --no-python --nproc-per-node ", sequence_parallel_size,
                " bin/monarch ", command, " ...)");
  return launch;
}

}  // namespace monarch::apps
