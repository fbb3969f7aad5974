#include "monarch/base/error.h"
#include "monarch/parallel/gloo.h"

namespace monarch::parallel {

std::unique_ptr<Communicator> join_gloo(const Launch& launch,
                                        const CommunicatorOptions& /*options*/) {
  fail(ErrorCode::kUnsupported, "[monarch_parallel] ", launch.launcher, " started ", launch.size,
       " processes, but this program was built without Gloo; install libgloo-dev and build again, "
       "or start one process");
}

}  // namespace monarch::parallel
