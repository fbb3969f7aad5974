#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

ParityOutput run_self_forcing_inference(const ParityInput& in);
ParityOutput run_bidirectional_inference(const ParityInput& in);
ParityOutput run_bidirectional_diffusion_inference(const ParityInput& in);
ParityOutput run_causal_diffusion_inference(const ParityInput& in);

}  // namespace monarch::apps
