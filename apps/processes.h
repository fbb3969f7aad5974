// Commands that several processes run together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "monarch/parallel/communicator.h"

namespace monarch::apps {

// Processes of one machine share its cores, unless the user has said how.
void share_cores(const parallel::Launch& launch);

// Runs `body` for all processes of `launch`, which meet first; if it throws, the others are told
// why.
void together(const parallel::Launch& launch, const parallel::CommunicatorOptions& options,
              const std::function<void(const std::shared_ptr<parallel::Communicator>&)>& body);

// The processes that make every video of `command` together: as many as were started, which must
// be `sequence_parallel_size`. One process looks for no others.
parallel::Launch sequence_launch(const std::string& command, std::int64_t sequence_parallel_size);

}  // namespace monarch::apps
