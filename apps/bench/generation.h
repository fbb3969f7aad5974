// Inside of `bench generate`: what whole videos and streaming share.
#pragma once

#include <string>
#include <vector>

#include "apps/bench/flops.h"
#include "apps/bench/works.h"
#include "monarch/pipelines/generate.h"

namespace monarch::apps {

inline constexpr std::uint64_t kBenchSeed = 7;
// Of whole networks in float32 against the same networks in float64.
inline constexpr double kTransformerTolerance = 1e-4;
inline constexpr double kVaeTolerance = 2e-5;

// Standard normal latents, the same for the same shape.
inline at::Tensor bench_noise(const pipelines::LatentShape& shape,
                              const at::TensorOptions& options) {
  at::Generator generator = pipelines::seeded_generator(kBenchSeed);
  return pipelines::draw_noise(generator, shape, options);
}

inline ops::Grid latent_grid(const models::WanConfig& config, const pipelines::LatentShape& shape) {
  return token_grid(config, shape.frames, shape.height, shape.width);
}

// A corner of [B, C, F, h, w] with two token rows and columns in each band of the tiling: as little
// as a float64 check needs.
inline at::Tensor corner(const at::Tensor& latents, const models::WanConfig& config) {
  return latents.slice(3, 0, 2 * config.monarch.h_reduce * config.patch_size[1])
      .slice(4, 0, 2 * config.monarch.w_reduce * config.patch_size[2])
      .contiguous();
}

// The folder's VAE in float64.
inline std::shared_ptr<const models::WanVae> exact_vae(const std::string& folder) {
  return pipelines::WanSystem(folder, {.dtype = at::kDouble, .low_memory = true}).vae();
}

// The folder's attention and dense attention beside it.
inline std::vector<pipelines::GenerationOptions> with_each_attention(
    const pipelines::GenerationOptions& options) {
  pipelines::GenerationOptions dense = options;
  dense.attention = pipelines::AttentionPreset::kDense;
  if (options.attention == pipelines::AttentionPreset::kDense) return {dense};
  return {options, dense};
}

inline std::string attention_name(const pipelines::GenerationOptions& options) {
  return std::string(pipelines::attention_preset_name(options.attention));
}

void bench_streaming(BenchReport& report, pipelines::WanSystem& system,
                     pipelines::GenerationOptions options, const GenerateBench& bench);

}  // namespace monarch::apps
