#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

ParityOutput run_umt5_encode(const ParityInput& in);
ParityOutput run_t5_relative_position_bucket(const ParityInput& in);

}  // namespace monarch::apps
