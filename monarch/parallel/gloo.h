// Inside of communicator.h: the implementation over Gloo, or (no_gloo.cpp) what is said without it.
#pragma once

#include <memory>

#include "monarch/parallel/communicator.h"

namespace monarch::parallel {

std::unique_ptr<Communicator> join_gloo(const Launch& launch, const CommunicatorOptions& options);

}  // namespace monarch::parallel
