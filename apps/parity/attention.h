#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

ParityOutput run_dense_attention(const ParityInput& in);
ParityOutput run_dense_attention_block_causal(const ParityInput& in);
ParityOutput run_dense_attention_kv_cache(const ParityInput& in);
ParityOutput run_monarch_attention(const ParityInput& in);
ParityOutput run_monarch_attention_block_causal(const ParityInput& in);
ParityOutput run_monarch_attention_kv_cache(const ParityInput& in);
ParityOutput run_vmonarch_attention(const ParityInput& in);

}  // namespace monarch::apps
