// Which denoising step a pass of the model belongs to, for attention rules that choose by step.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "monarch/models/wan/config.h"

namespace monarch::pipelines {

// The last of the descending `timesteps` that is not below `timestep` (one number, or any shape
// with the noisiest entry counting): a pass that fills caches counts as the last step. -1 if there
// are no timesteps, or no rule of the config asks.
std::int64_t denoising_step(const models::WanConfig& config, std::span<const float> timesteps,
                            const at::Tensor& timestep);

}  // namespace monarch::pipelines
