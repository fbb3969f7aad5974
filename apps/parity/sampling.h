#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

ParityOutput run_tokenizer(const ParityInput& in);
ParityOutput run_flow_match_scheduler(const ParityInput& in);
ParityOutput run_unipc(const ParityInput& in);
ParityOutput run_dpmpp(const ParityInput& in);

}  // namespace monarch::apps
