#include "apps/bench/works.h"

#include <ATen/ATen.h>

#include "apps/bench/flops.h"
#include "apps/progress.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"

namespace monarch::apps {
namespace {

constexpr std::uint64_t kSeed = 7;

double relative_error(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor a = got.to(at::kDouble);
  const at::Tensor b = want.to(at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

std::string grid_string(std::int64_t rows, std::int64_t columns) {
  return str_cat(rows, 'x', columns);
}

}  // namespace

void bench_layer(BenchReport& report) {
  const at::NoGradGuard no_grad;
  models::WanConfig config;
  config.num_layers = 1;
  const ops::Grid grid{3, 30, 52};
  at::manual_seed(kSeed);
  const models::TensorMap weights = models::random_dit_weights(config);
  const models::DitInput input{.x = at::randn({1, 16, 3, 60, 104}),
                               .t = at::full({1}, 500.0),
                               .context = at::randn({1, 512, 4096})};
  models::WanConfig monarch_config = config;
  monarch_config.monarch.enable = true;
  const models::WanDit dense(config, weights);
  const models::WanDit monarch(monarch_config, weights);
  Work work{.name = "dit-layer",
            .shape =
                "1.3B widths, 4680 tokens (3 frames of 30x52), 512 text tokens, with embeddings "
                "and head"};
  report.run(work,
             {{"monarch-dense", [&] { dense.forward(input); }, {}, 0},
              {"monarch-monarchrt", [&] { monarch.forward(input); }, {}, 0}},
             {dit_flop(config, grid) / 1e9, dit_flop(monarch_config, grid) / 1e9});
}

void bench_text(BenchReport& report) {
  const at::NoGradGuard no_grad;
  models::Umt5Config config;
  config.num_layers = 1;
  config.vocab_size = 1024;
  const models::Umt5Encoder encoder(config, models::random_parameters(config, kSeed));
  const at::Tensor ids = at::randint(config.vocab_size, {1, 512}, at::kLong);
  const at::Tensor mask = at::ones({1, 512}, at::kLong);
  const double flop = 2.0 * 512 * 4096 * (4.0 * 4096 + 3.0 * 10240) + 4.0 * 512 * 512 * 4096;
  Work work{.name = "umt5-layer", .shape = "XXL widths, 512 tokens", .gflop = flop / 1e9};
  report.run(work, {{"monarch", [&] { encoder.encode(ids, mask); }, {}, 0}});
}

void bench_vae(BenchReport& report, const VaeBench& o) {
  const at::NoGradGuard no_grad;
  models::VaeConfig config;
  config.dim = o.width;
  config.complete();
  const models::WanVae vae(config, models::random_parameters(config, kSeed));
  at::manual_seed(kSeed);
  const at::Tensor latent =
      at::randn({1, config.z_dim, o.latent_frames, o.latent_height, o.latent_width});
  const at::Tensor video = at::rand({1, 3, config.num_frames(o.latent_frames), 8 * o.latent_height,
                                     8 * o.latent_width}) *
                               2 -
                           1;
  const std::string shape = str_cat("width ", o.width, ", ", o.latent_frames, " latent frames of ",
                                    grid_string(o.latent_height, o.latent_width));
  // Recording gradients takes Torch's own convolutions: the check of the fast path.
  auto check = [](const std::function<at::Tensor(const at::Tensor&)>& apply,
                  const at::Tensor& input) {
    return [apply, input] {
      const at::Tensor fast = apply(input);
      const at::AutoGradMode grad(true);
      return relative_error(fast, apply(input.detach().clone().requires_grad_()).detach());
    };
  };
  const at::Tensor small_latent = latent.slice(2, 0, 2).slice(3, 0, 8).slice(4, 0, 8).contiguous();
  const at::Tensor small_video = video.slice(2, 0, 5).slice(3, 0, 64).slice(4, 0, 64).contiguous();
  const auto decode = [&vae](const at::Tensor& x) { return vae.decode(x); };
  const auto encode = [&vae](const at::Tensor& x) { return vae.encode(x); };
  report.run(
      {.name = "vae-decode",
       .shape = shape,
       .gflop = vae_decode_flop(config, o.latent_frames, o.latent_height, o.latent_width) / 1e9},
      {{"monarch", [&] { vae.decode(latent); }, check(decode, small_latent), 2e-5}});
  report.run({.name = "vae-encode",
              .shape = shape,
              .gflop = vae_encode_flop(config, video.size(2), video.size(3), video.size(4)) / 1e9},
             {{"monarch", [&] { vae.encode(video); }, check(encode, small_video), 2e-5}});
  report.note(str_cat("peak memory of the process ", format_bytes(peak_memory_bytes())),
              {{"peak_memory_bytes", peak_memory_bytes()}});
}

}  // namespace monarch::apps
