#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

ParityOutput run_wan_dit(const ParityInput& in);
ParityOutput run_wan_dit_causal_train(const ParityInput& in);
ParityOutput run_wan_dit_causal_cache(const ParityInput& in);
ParityOutput run_blockwise_causal_mask(const ParityInput& in);
ParityOutput run_rope_3d(const ParityInput& in);
ParityOutput run_sinusoidal_embedding(const ParityInput& in);
ParityOutput run_modulated_layernorm(const ParityInput& in);
ParityOutput run_wan_rmsnorm(const ParityInput& in);
ParityOutput run_patchify(const ParityInput& in);

}  // namespace monarch::apps
