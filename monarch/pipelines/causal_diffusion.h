// Chunk after chunk with many steps and guidance: the causal model before distillation.
#pragma once

#include "monarch/pipelines/rollout.h"
#include "monarch/sampling/solver.h"

namespace monarch::pipelines {

struct CausalDiffusionOptions {
  sampling::SolverOptions solver;  // a fresh one for each chunk
  double guidance_scale = 3.0;
  std::int64_t num_frame_per_block = 3;
  bool independent_first_frame = false;
};

// `conditional` and `unconditional` are bound to caches of their own and called in this order;
// without `unconditional` there is no guidance. Returns initial (may be undefined) and generated
// latents together, [B, C, F, H, W].
at::Tensor sample_causal_diffusion(const ChunkFlow& conditional, const ChunkFlow& unconditional,
                                   const at::Tensor& noise, const at::Tensor& initial,
                                   const CausalDiffusionOptions& options,
                                   const ChunkReceiver& on_chunk = {},
                                   const RunControl& control = {});

}  // namespace monarch::pipelines
