#include "apps/bench/works.h"

#include <ATen/ATen.h>

#include "apps/bench/flops.h"
#include "apps/progress.h"
#include "monarch/base/memory.h"
#include "monarch/models/wan/layer.h"
#include "monarch/models/wan/rope.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/norm_rope.h"

namespace monarch::apps {
namespace {

// Of a layer against float64.
constexpr Tolerance kLayerTolerance{.f32 = 2e-5, .bf16 = 2e-2};

models::TensorMap moved(const models::TensorMap& tensors, const at::TensorOptions& options) {
  models::TensorMap result;
  for (const auto& [name, tensor] : tensors) result[name] = tensor.to(options);
  return result;
}

std::string grid_string(std::int64_t rows, std::int64_t columns) {
  return str_cat(rows, 'x', columns);
}

}  // namespace

void bench_layer(BenchReport& report) {
  const at::NoGradGuard no_grad;
  models::WanConfig config;
  config.num_layers = 1;
  models::WanConfig monarch_config = config;
  monarch_config.monarch.enable = true;
  const ops::Grid grid{3, 30, 52};
  at::manual_seed(kBenchSeed);
  const at::TensorOptions options = report.tensor_options();
  const at::ScalarType own = report.scalar_type();
  const models::DitWeights weights =
      models::DitWeights::read(config, moved(models::random_dit_weights(config), options));
  const models::LayerWeights& layer = weights.layers.front();
  const at::Tensor tokens = at::randn({1, grid.tokens(), config.dim}).to(options);
  const at::Tensor text = at::randn({1, config.text_len, config.dim}).to(options);
  const at::Tensor modulation = at::randn({1, 1, 6, config.dim}).to(options);
  const at::Tensor rope = models::rope_table(grid, 0, config.head_dim(), report.device());
  // Layers write into the tokens they are given: each run takes a copy. The keys of the text are
  // computed as well.
  const auto run = [&](const models::WanConfig& c, at::ScalarType type) {
    return models::run_layer(
        layer, c, tokens.to(type, /*non_blocking=*/false, /*copy=*/true), modulation.to(type), rope,
        models::cross_keys(layer.cross_attn, c, text.to(type)), [&](const ops::Projections& p) {
          return models::bidirectional_attention(models::rotated(p), models::head_groups(c, 0, {}),
                                                 grid);
        });
  };
  const auto contender = [&](const char* name, const models::WanConfig& c) {
    return Contender{name, [&] { run(c, own); },
                     [&] { return relative_error(run(c, own), run(c, at::kDouble)); },
                     report.allowed(kLayerTolerance)};
  };
  report.run({.name = "dit-layer",
              .shape = "1.3B widths, 4680 tokens (3 frames of 30x52), 512 text tokens"},
             {contender("monarch-dense", config), contender("monarch-monarchrt", monarch_config)},
             {dit_layer_flop(config, grid) / 1e9, dit_layer_flop(monarch_config, grid) / 1e9});
}

void bench_norm_rope(BenchReport& report) {
  const at::NoGradGuard no_grad;
  const ops::Grid grid{3, 30, 52};
  at::manual_seed(kBenchSeed);
  const at::TensorOptions options = report.tensor_options();
  const auto draw = [&] { return at::randn({1, grid.tokens(), 12, 128}).to(options); };
  const ops::Projections p{.q = draw(),
                           .k = draw(),
                           .v = draw(),
                           .norm_q = at::rand({1536}).to(options),
                           .norm_k = at::rand({1536}).to(options),
                           .rope = models::rope_table(grid, 0, 128, report.device())};
  const at::Tensor k_slots = at::empty_like(p.k), v_slots = at::empty_like(p.v);
  const auto write = [&] { return ops::norm_rope_write(p, grid, {}, k_slots, v_slots); };
  const auto composed = [&] {
    const ops::ComposedAttentionGuard guard;
    return write();
  };
  report.run({.name = "norm-rope-write",
              .shape = "q, k and v of 4680 tokens (3 frames of 30x52), 12 x 128, into a KV cache"},
             {{"monarch", write, [&] { return relative_error(write(), composed()); },
               report.allowed({.f32 = 1e-6, .bf16 = 1e-2})},
              {"torch-composed", composed, {}, 0}});
}

void bench_text(BenchReport& report) {
  const at::NoGradGuard no_grad;
  models::Umt5Config config;
  config.num_layers = 1;
  config.vocab_size = 1024;
  const at::TensorOptions options = report.tensor_options();
  const models::TensorMap weights = moved(models::random_parameters(config, kBenchSeed), options);
  const models::Umt5Encoder encoder(config, weights, report.scalar_type());
  const at::Tensor ids = at::randint(config.vocab_size, {1, 512}, at::kLong).to(report.device());
  const at::Tensor mask = at::ones({1, 512}, ids.options());
  const double flop = 2.0 * 512 * 4096 * (4.0 * 4096 + 3.0 * 10240) + 4.0 * 512 * 512 * 4096;
  Work work{.name = "umt5-layer", .shape = "XXL widths, 512 tokens", .gflop = flop / 1e9};
  const auto error = [&] {
    const models::Umt5Encoder exact(config, weights, at::kDouble);
    return relative_error(encoder.encode(ids, mask), exact.encode(ids, mask));
  };
  report.run(work, {{"monarch", [&] { encoder.encode(ids, mask); }, error,
                     report.allowed(kLayerTolerance)}});
}

void bench_vae(BenchReport& report, const VaeBench& o) {
  const at::NoGradGuard no_grad;
  models::VaeConfig config;
  config.dim = o.width;
  config.complete();
  const at::TensorOptions options = report.tensor_options();
  const models::TensorMap weights = moved(models::random_parameters(config, kBenchSeed), options);
  const models::WanVae vae(config, weights);
  at::manual_seed(kBenchSeed);
  const at::Tensor latent =
      at::randn({1, config.z_dim, o.latent_frames, o.latent_height, o.latent_width}).to(options);
  const at::Tensor video = (at::rand({1, 3, config.num_frames(o.latent_frames), 8 * o.latent_height,
                                      8 * o.latent_width}) *
                                2 -
                            1)
                               .to(options);
  const std::string shape = str_cat("width ", o.width, ", ", o.latent_frames, " latent frames of ",
                                    grid_string(o.latent_height, o.latent_width));
  const models::WanVae exact(config, moved(weights, options.dtype(at::kDouble)));
  const at::Tensor small_latent = latent.slice(2, 0, 2).slice(3, 0, 8).slice(4, 0, 8).contiguous();
  const at::Tensor small_video = video.slice(2, 0, 5).slice(3, 0, 64).slice(4, 0, 64).contiguous();
  const auto decode_error = [&] {
    return relative_error(vae.decode(small_latent), exact.decode(small_latent.to(at::kDouble)));
  };
  const auto encode_error = [&] {
    return relative_error(vae.encode(small_video), exact.encode(small_video.to(at::kDouble)));
  };
  report.run(
      {.name = "vae-decode",
       .shape = shape,
       .gflop = vae_decode_flop(config, o.latent_frames, o.latent_height, o.latent_width) / 1e9},
      {{"monarch", [&] { vae.decode(latent); }, decode_error, report.allowed(kVaeTolerance)}});
  report.run(
      {.name = "vae-encode",
       .shape = shape,
       .gflop = vae_encode_flop(config, video.size(2), video.size(3), video.size(4)) / 1e9},
      {{"monarch", [&] { vae.encode(video); }, encode_error, report.allowed(kVaeTolerance)}});
  report.note(str_cat("peak memory of the process ", format_bytes(peak_memory_bytes())),
              {{"peak_memory_bytes", peak_memory_bytes()}});
}

}  // namespace monarch::apps
