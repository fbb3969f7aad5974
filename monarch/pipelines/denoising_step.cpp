#include "monarch/pipelines/denoising_step.h"

#include <algorithm>

namespace monarch::pipelines {

std::int64_t denoising_step(const models::WanConfig& config, std::span<const float> timesteps,
                            const at::Tensor& timestep) {
  if (timesteps.empty() || !models::choose_by_step(config.attention)) return -1;
  const auto level = timestep.max().item<float>();
  const auto begun = std::count_if(timesteps.begin(), timesteps.end(),
                                   [&](float start) { return start >= level; });
  return std::max<std::int64_t>(begun - 1, 0);
}

}  // namespace monarch::pipelines
