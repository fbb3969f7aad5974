#include "monarch/pipelines/run_config.h"

#include <iomanip>
#include <sstream>

#include "monarch/attention/map_size.h"
#include "monarch/base/error.h"

namespace monarch::pipelines {
namespace {

std::string describe_preset(const models::WanConfig& config, const LatentShape& shape) {
  if (config.vmonarch) {
    return str_cat("vmonarch, ", config.vmonarch->num_iters, " iterations");
  }
  if (!config.monarch.enable) return "dense";
  const ops::Grid grid{shape.frames, shape.height / config.patch_size[1],
                       shape.width / config.patch_size[2]};
  std::ostringstream percent;
  percent << std::fixed << std::setprecision(1) << 100 * monarch_sparsity(config.monarch, grid);
  return str_cat(
      "monarchrt, f_tied ", config.monarch.f_tied, ", h_reduce ", config.monarch.h_reduce,
      ", w_reduce ", config.monarch.w_reduce, ", ", config.monarch.num_iters,
      config.monarch.num_iters == 1 ? " iteration, " : " iterations, ", percent.str(), " % sparse");
}

}  // namespace

models::WanConfig run_config(const WanSystem& system, const GenerationOptions& options) {
  models::WanConfig config = system.transformer_config();
  config.monarch = options.monarch;
  config.monarch.enable = options.attention == AttentionPreset::kMonarchRt;
  config.vmonarch.reset();
  if (options.attention == AttentionPreset::kVMonarch) config.vmonarch = options.vmonarch;
  config.attention = options.attention_rules;
  config.num_frame_per_block = options.num_frame_per_block;
  config.independent_first_frame = options.independent_first_frame;
  config.local_attn_size = options.local_attn_size;
  config.sink_size = options.sink_size;
  config.relative_sink = options.relative_sink;
  config.validate();
  if (options.causal) {
    models::validate_causal_rules(config);
  } else {
    models::check_no_chunk_rules(config);
  }
  return config;
}

LatentShape latent_shape(const WanSystem& system, const GenerationOptions& options) {
  const models::VaeConfig& vae = system.vae_config();
  return {.batch = 1,
          .channels = vae.z_dim,
          .frames = vae.num_latent_frames(options.num_frames),
          .height = options.height / vae.spatial_factor(),
          .width = options.width / vae.spatial_factor()};
}

StreamOptions stream_options(const WanSystem& system, const GenerationOptions& options,
                             std::int64_t cache_frames) {
  StreamOptions stream;
  const sampling::FlowMatchSchedule schedule(
      sampling::FlowMatchConfig::self_forcing(options.timestep_shift));
  stream.rollout = {.num_frame_per_block = options.num_frame_per_block,
                    .independent_first_frame = options.independent_first_frame,
                    .timesteps = sampling::denoising_timesteps(
                        schedule, options.denoising_step_list, options.warp_denoising_step,
                        /*drop_final_zero=*/false),
                    .context_noise = options.context_noise};
  stream.timestep_shift = options.timestep_shift;
  stream.shape = latent_shape(system, options);
  stream.shape.frames = cache_frames;
  stream.overlap_frames = options.num_frame_per_block + (options.independent_first_frame ? 1 : 0);
  stream.tensor_options = system.tensor_options();
  return stream;
}

double monarch_sparsity(const ops::MonarchOptions& options, const ops::Grid& grid) {
  ops::blocks_of(grid, options);  // divisibility
  return attention::map_size(attention::MonarchProblem{.q_frames = grid.frames,
                                                       .kv_frames = grid.frames,
                                                       .height = grid.height,
                                                       .width = grid.width,
                                                       .f_tied = options.f_tied,
                                                       .h_reduce = options.h_reduce,
                                                       .w_reduce = options.w_reduce})
      .sparsity();
}

std::string describe_attention(const WanSystem& system, const GenerationOptions& options) {
  const models::WanConfig config = run_config(system, options);
  std::string text = describe_preset(config, latent_shape(system, options));
  for (const models::AttentionRule& rule : config.attention) text += "; " + describe(rule);
  return text;
}

}  // namespace monarch::pipelines
