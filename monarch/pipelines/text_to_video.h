// Whole videos at once with a bidirectional transformer. Latents are [B, C, F, H, W].
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "monarch/models/wan/dit.h"
#include "monarch/pipelines/run_control.h"
#include "monarch/sampling/few_step.h"
#include "monarch/sampling/solver.h"

namespace monarch::pipelines {

// flow = denoiser(x_t, timestep [B], step) with the context [B or 1, L, text_dim] bound. The model
// must outlive the result.
sampling::Denoiser bind_context(const models::WanDit& model, const at::Tensor& context);

// Many steps of a solver, from noise to the clean latent.
at::Tensor sample_diffusion(const sampling::Denoiser& flow, const at::Tensor& noise,
                            const sampling::SolverOptions& options, const RunControl& control = {});

// A few steps of a distilled model. As in the original, the model runs at every entry of
// `timesteps` but the last, to which the last prediction would be noised again.
at::Tensor sample_distilled(const sampling::Denoiser& flow, const at::Tensor& noise,
                            std::span<const float> timesteps,
                            const sampling::FlowMatchSchedule& schedule,
                            const sampling::NoiseSource& draw, const RunControl& control = {});

}  // namespace monarch::pipelines
