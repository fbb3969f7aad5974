#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

ParityOutput run_wan_vae_encode(const ParityInput& in);
ParityOutput run_wan_vae_decode(const ParityInput& in);
ParityOutput run_wan_vae_decode_cached(const ParityInput& in);
ParityOutput run_vae_rms_norm(const ParityInput& in);
ParityOutput run_vae_causal_conv3d(const ParityInput& in);

}  // namespace monarch::apps
