// Inside of `bench generate`: what whole videos and streaming share.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "apps/bench/flops.h"
#include "apps/bench/works.h"
#include "monarch/pipelines/generate.h"
#include "monarch/pipelines/noise.h"
#include "monarch/pipelines/run_config.h"

namespace monarch::apps {

// Of whole networks against the same networks in float64.
inline constexpr Tolerance kTransformerTolerance{.f32 = 1e-4, .bf16 = 5e-2};

// Standard normal latents, the same for the same shape.
inline at::Tensor bench_noise(const pipelines::LatentShape& shape,
                              const at::TensorOptions& options) {
  at::Generator generator = pipelines::seeded_generator(kBenchSeed);
  return pipelines::draw_noise(generator, shape, options);
}

inline ops::Grid latent_grid(const models::WanConfig& config, const pipelines::LatentShape& shape) {
  return token_grid(config, shape.frames, shape.height, shape.width);
}

// The smallest tiling that all Monarch heads of a model can share.
inline ops::MonarchOptions common_tiling(const models::WanConfig& config) {
  ops::MonarchOptions common = config.monarch;
  for (const models::AttentionRule& rule : config.attention) {
    const models::HeadAttention& attention = rule.attention;
    const ops::MonarchOptions& own = attention.monarch;
    const bool whole = attention.kind == models::AttentionKind::kVMonarch;
    common.f_tied =
        std::lcm(common.f_tied, whole ? attention.vmonarch.frames_per_factor : own.f_tied);
    common.h_reduce = std::lcm(common.h_reduce, own.h_reduce);
    common.w_reduce = std::lcm(common.w_reduce, own.w_reduce);
  }
  if (config.vmonarch) common.f_tied = std::lcm(common.f_tied, config.vmonarch->frames_per_factor);
  return common;
}

// A corner of [B, C, F, h, w] with two token rows and columns in each band of the tiling: as little
// as a float64 check needs.
inline at::Tensor corner(const at::Tensor& latents, const models::WanConfig& config) {
  const ops::MonarchOptions tiling = common_tiling(config);
  return latents.slice(3, 0, 2 * tiling.h_reduce * config.patch_size[1])
      .slice(4, 0, 2 * tiling.w_reduce * config.patch_size[2])
      .contiguous();
}

// The VAE of the system's folder in float64.
inline std::shared_ptr<const models::WanVae> exact_vae(const pipelines::WanSystem& system) {
  return pipelines::WanSystem(
             system.folder(),
             {.dtype = at::kDouble, .device = system.options().device, .low_memory = true})
      .vae();
}

// The folder's attention and dense attention beside it.
inline std::vector<pipelines::GenerationOptions> with_each_attention(
    const pipelines::GenerationOptions& options) {
  pipelines::GenerationOptions dense = options;
  dense.attention = pipelines::AttentionPreset::kDense;
  dense.attention_rules.clear();
  if (pipelines::attention_name(options) == pipelines::attention_name(dense)) return {dense};
  return {options, dense};
}

void bench_streaming(BenchReport& report, pipelines::WanSystem& system,
                     pipelines::GenerationOptions options, const GenerateBench& bench);

}  // namespace monarch::apps
