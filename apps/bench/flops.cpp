#include "apps/bench/flops.h"

namespace monarch::apps {
namespace {

using I = std::int64_t;

double conv(I in, I out, I taps, double positions) {
  return 2.0 * static_cast<double>(in * out * taps) * positions;
}

double residual_block(I in, I out, double positions) {
  return conv(in, out, 27, positions) + conv(out, out, 27, positions) +
         (in == out ? 0 : conv(in, out, 1, positions));
}

// Per-frame attention of the middle, one head over height * width positions.
double attention_block(I width, double frames, double frame_positions) {
  return conv(width, 4 * width, 1, frames * frame_positions) +
         4.0 * static_cast<double>(width) * frames * frame_positions * frame_positions;
}

double middle(I width, double frames, double frame_positions) {
  return 2 * residual_block(width, width, frames * frame_positions) +
         attention_block(width, frames, frame_positions);
}

// `first` products of b2 x b2 for each row of each pair of tiles, `second` of b1 x b1 for each
// column, for each channel.
double monarch_products_flop(const ops::Grid& q_grid, const ops::Grid& kv_grid,
                             const ops::MonarchOptions& options, double first, double second) {
  const auto bands = static_cast<double>(options.h_reduce * options.w_reduce);
  const double q_tiles = static_cast<double>(q_grid.frames / options.f_tied) * bands;
  const double kv_tiles = static_cast<double>(kv_grid.frames / options.f_tied) * bands;
  const auto b1 = static_cast<double>(options.f_tied * q_grid.height / options.h_reduce);
  const auto b2 = static_cast<double>(q_grid.width / options.w_reduce);
  return q_tiles * kv_tiles * 2 * (first * b1 * b2 * b2 + second * b2 * b1 * b1);
}

}  // namespace

ops::Grid token_grid(const models::WanConfig& config, I frames, I height, I width) {
  return {frames / config.patch_size[0], height / config.patch_size[1],
          width / config.patch_size[2]};
}

double vae_decode_flop(const models::VaeConfig& config, I frames, I height, I width) {
  const I num_stages = static_cast<I>(config.dim_mult.size());
  auto stage_width = [&](I stage) {
    return config.dim * config.dim_mult[static_cast<std::size_t>(num_stages - 1 - stage)];
  };
  auto positions_per_frame = static_cast<double>(height * width);
  auto num_frames = static_cast<double>(frames);
  I channels = stage_width(0);
  double total = conv(config.z_dim, config.z_dim, 1, num_frames * positions_per_frame) +
                 conv(config.z_dim, channels, 27, num_frames * positions_per_frame) +
                 middle(channels, num_frames, positions_per_frame);
  for (I stage = 0; stage < num_stages; ++stage) {
    const I out = stage_width(stage);
    for (I block = 0; block <= config.num_res_blocks; ++block) {
      total += residual_block(channels, out, num_frames * positions_per_frame);
      channels = out;
    }
    if (stage + 1 == num_stages) break;
    if (config.temperal_downsample[static_cast<std::size_t>(num_stages - 2 - stage)]) {
      total += conv(channels, 2 * channels, 3, (num_frames - 1) * positions_per_frame);
      num_frames = 1 + 2 * (num_frames - 1);
    }
    positions_per_frame *= 4;
    total += conv(channels, channels / 2, 9, num_frames * positions_per_frame);
    channels /= 2;
  }
  return total + conv(channels, 3, 27, num_frames * positions_per_frame);
}

double vae_encode_flop(const models::VaeConfig& config, I frames, I height, I width) {
  const std::size_t num_stages = config.dim_mult.size();
  auto positions_per_frame = static_cast<double>(height * width);
  auto num_frames = static_cast<double>(frames);
  I channels = config.dim;
  double total = conv(3, channels, 27, num_frames * positions_per_frame);
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    const I out = config.dim * config.dim_mult[stage];
    for (I block = 0; block < config.num_res_blocks; ++block) {
      total += residual_block(channels, out, num_frames * positions_per_frame);
      channels = out;
    }
    if (stage + 1 == num_stages) break;
    positions_per_frame /= 4;
    total += conv(channels, channels, 9, num_frames * positions_per_frame);
    if (config.temperal_downsample[stage]) {
      num_frames = 1 + (num_frames - 1) / 2;
      total += conv(channels, channels, 3, (num_frames - 1) * positions_per_frame);
    }
  }
  return total + middle(channels, num_frames, positions_per_frame) +
         conv(channels, 2 * config.z_dim, 27, num_frames * positions_per_frame) +
         conv(2 * config.z_dim, 2 * config.z_dim, 1, num_frames * positions_per_frame);
}

double dense_attention_flop(double q_tokens, double kv_tokens, double heads, double head_dim) {
  return 4.0 * q_tokens * kv_tokens * heads * head_dim;
}

double dense_attention_backward_flop(double q_tokens, double kv_tokens, double heads,
                                     double head_dim) {
  return 2.5 * dense_attention_flop(q_tokens, kv_tokens, heads, head_dim);
}

double monarch_attention_flop(const ops::Grid& q_grid, const ops::Grid& kv_grid,
                              const ops::MonarchOptions& options, double heads, double head_dim) {
  // R, a_L and Y are b1 products of b2 x b2 x D each; the scores and the output b2 products of b1 x
  // b1 x D. Each further iteration repeats R and a_L, the scores, and sums a_R.
  const auto iterations = static_cast<double>(options.num_iters);
  return monarch_products_flop(q_grid, kv_grid, options, 2 * iterations + 1, 2 * iterations) *
         heads * head_dim;
}

double monarch_attention_backward_flop(const ops::Grid& q_grid, const ops::Grid& kv_grid,
                                       const ops::MonarchOptions& options, double heads,
                                       double head_dim) {
  // Again R, a_L and Y; then what a_L and Y pass on to R, K and V, and R to Q and K. Again the
  // scores; then what the output passes on to L and Y, and L to Q and a_L.
  return monarch_products_flop(q_grid, kv_grid, options, 9, 5) * heads * head_dim;
}

double vmonarch_attention_flop(const ops::Grid& grid, const ops::VMonarchOptions& options,
                               double heads, double head_dim) {
  const auto tokens = static_cast<double>(grid.tokens());
  const attention::SplitLayout layout{grid.frames, grid.height, grid.width,
                                      options.frames_per_factor, options.split};
  const auto rows = static_cast<double>(layout.num_rows());
  const double cols = tokens / rows;
  // R and a_L each iteration, Y after the last: products of a factor row's P x P x D. The scores of
  // L each iteration, then a_R or the output: P products of m x m x D.
  const auto iterations = static_cast<double>(options.num_iters);
  const double flop =
      rows * cols * cols * (4 * iterations + 2) + cols * rows * rows * 4 * iterations;
  const double first =
      options.recompute_first_frame
          ? dense_attention_flop(static_cast<double>(grid.frame_tokens()), tokens, heads, head_dim)
          : 0;
  return flop * heads * head_dim + first;
}

namespace {

double self_attention_flop(const models::HeadAttention& attention, const ops::Grid& grid,
                           const ops::Grid& kv_grid, double heads, double head_dim) {
  switch (attention.kind) {
    case models::AttentionKind::kMonarch:
      return monarch_attention_flop(grid, kv_grid, attention.monarch, heads, head_dim);
    case models::AttentionKind::kVMonarch:
      return vmonarch_attention_flop(grid, attention.vmonarch, heads, head_dim);
    case models::AttentionKind::kDense: break;
  }
  return dense_attention_flop(static_cast<double>(grid.tokens()),
                              static_cast<double>(kv_grid.tokens()), heads, head_dim);
}

// Without the keys and values of the text.
double layer_flop(const models::WanConfig& config, const ops::Grid& grid, const ops::Grid& kv_grid,
                  I layer, I step) {
  const auto tokens = static_cast<double>(grid.tokens());
  const auto dim = static_cast<double>(config.dim);
  const auto text = static_cast<double>(config.text_len);
  const auto heads = static_cast<double>(config.num_heads);
  double self_attention = 0;
  for (const models::HeadGroup& group : models::head_groups(config, layer, {.step = step})) {
    self_attention += self_attention_flop(group.attention, grid, kv_grid,
                                          static_cast<double>(group.count), dim / heads);
  }
  return 2 * tokens * dim * (4 * dim + 2 * dim + 2 * static_cast<double>(config.ffn_dim)) +
         self_attention + dense_attention_flop(tokens, text, heads, dim / heads);
}

double layers_flop(const models::WanConfig& config, const ops::Grid& grid, const ops::Grid& kv_grid,
                   I step) {
  double total = 0;
  for (I layer = 0; layer < config.num_layers; ++layer)
    total += layer_flop(config, grid, kv_grid, layer, step);
  return total;
}

double text_keys_flop(const models::WanConfig& config) {
  const auto dim = static_cast<double>(config.dim);
  return 4 * static_cast<double>(config.text_len) * dim * dim;
}

double patches_flop(const models::WanConfig& config, const ops::Grid& grid) {
  const auto patch =
      static_cast<double>(config.patch_size[0] * config.patch_size[1] * config.patch_size[2]);
  return 2 * static_cast<double>(grid.tokens()) * static_cast<double>(config.dim) * patch *
         static_cast<double>(config.in_dim + config.out_dim);
}

}  // namespace

double dit_layer_flop(const models::WanConfig& config, const ops::Grid& grid) {
  return layer_flop(config, grid, grid, 0, 0) + text_keys_flop(config);
}

double dit_flop(const models::WanConfig& config, const ops::Grid& grid, I step) {
  return layers_flop(config, grid, grid, step) +
         static_cast<double>(config.num_layers) * text_keys_flop(config) +
         patches_flop(config, grid) +
         2 * static_cast<double>(config.text_len) * static_cast<double>(config.dim) *
             static_cast<double>(config.text_dim + config.dim);
}

double dit_chunk_flop(const models::WanConfig& config, const ops::Grid& grid,
                      const ops::Grid& kv_grid) {
  return layers_flop(config, grid, kv_grid, 0) + patches_flop(config, grid);
}

}  // namespace monarch::apps
