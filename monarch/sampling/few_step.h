// Few-step generation of distilled models: predict the clean sample, add fresh noise at the next,
// lower level, repeat.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "monarch/sampling/flow_match.h"

namespace monarch::sampling {

// x_0 = predict(x_t, timestep [B, F]); latents [B, C, F, H, W].
using CleanPredictor = std::function<at::Tensor(const at::Tensor& x_t, const at::Tensor& timestep)>;
// Fresh standard normal noise with the shape and type of the argument, [B, C, F, H, W].
using NoiseSource = std::function<at::Tensor(const at::Tensor& like)>;

// Timesteps of a `denoising_step_list`: a trailing 0 is dropped when drop_final_zero is set, then
// each step is looked up in the table (warp) or taken as it is.
std::vector<float> denoising_timesteps(const FlowMatchSchedule& schedule,
                                       std::span<const std::int64_t> steps, bool warp,
                                       bool drop_final_zero);

// [B, F] filled with one timestep, on x's device.
at::Tensor uniform_timestep(const at::Tensor& x, float timestep);

// Predicts at `timesteps[k]` and, where a further one follows, re-noises to it. The result is the
// last prediction. `last` stops earlier: the prediction at timesteps[last] is returned, nothing is
// drawn for it.
at::Tensor sample_few_step(const CleanPredictor& predict, const at::Tensor& noise,
                           std::span<const float> timesteps, const FlowMatchSchedule& schedule,
                           const NoiseSource& draw);

}  // namespace monarch::sampling
