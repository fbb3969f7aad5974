// `monarch bench generate`: a model folder at work, stage by stage.
#include "apps/bench/generation.h"

#include <ATen/ATen.h>

#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/base/memory.h"
#include "monarch/pipelines/default_options.h"
#include "monarch/pipelines/text_to_video.h"

namespace monarch::apps {
namespace {

using pipelines::GenerationOptions;
using pipelines::LatentShape;
using pipelines::WanSystem;

// The folder's settings with those of the command line.
GenerationOptions folder_options(const GenerateBench& o) {
  GenerationOptions options = pipelines::default_options(o.model);
  if (o.width > 0) std::tie(options.width, options.height) = std::pair(o.width, o.height);
  if (o.num_frames > 0) options.num_frames = o.num_frames;
  if (o.steps > 0) options.sampling_steps = o.steps;
  return options;
}

void encode_prompt(BenchReport& report, WanSystem& system, const GenerateBench& o) {
  const std::vector<std::string> prompts = {o.prompt};
  report.run({.name = "text", .shape = str_cat('"', o.prompt, "\", encoder loaded")},
             {{"monarch", [&] { system.encode_text(prompts); }, {}, 0}});
}

// One pass of the denoiser, checked against the same weights in float64 on the smallest grid that
// the tiling divides.
Contender denoiser_pass(WanSystem& system, const GenerationOptions& options, const at::Tensor& x,
                        const at::Tensor& context, double tolerance) {
  const models::WanConfig config = pipelines::run_config(system, options);
  const auto model = system.transformer(config);
  const auto pass = [model](const at::Tensor& x_t, const at::Tensor& text) {
    return model->forward({.x = x_t,
                           .t = at::full({1}, 500.0, x_t.options().dtype(at::kFloat)),
                           .context = text.to(x_t.scalar_type()),
                           .step = 0});
  };
  const auto error = [=] {
    const at::Tensor small =
        corner(x.slice(2, 0, common_tiling(config).f_tied * config.patch_size[0]), config);
    return relative_error(pass(small, context), pass(small.to(at::kDouble), context));
  };
  return {pipelines::attention_name(options), [=] { pass(x, context); }, error, tolerance};
}

void bench_whole(BenchReport& report, WanSystem& system, const GenerationOptions& options,
                 const GenerateBench& o) {
  const LatentShape shape = pipelines::latent_shape(system, options);
  const std::string size =
      str_cat(options.num_frames, " frames of ", options.width, 'x', options.height);
  const std::vector<std::string> prompts = {o.prompt};
  const at::Tensor context = system.encode_text(prompts);
  const at::Tensor latents = bench_noise(shape, system.tensor_options());

  std::vector<Contender> passes;
  std::vector<Contender> videos;
  std::vector<double> gflop;
  std::vector<double> video_gflop;
  const double decode_gflop =
      vae_decode_flop(system.vae_config(), shape.frames, shape.height, shape.width) / 1e9;
  const double passes_a_step = options.guidance_scale == 1 ? 1 : 2;
  const std::vector<GenerationOptions> variants = with_each_attention(options);
  for (const GenerationOptions& variant : variants) {
    const models::WanConfig config = pipelines::run_config(system, variant);
    gflop.push_back(dit_flop(config, latent_grid(config, shape)) / 1e9);
    passes.push_back(
        denoiser_pass(system, variant, latents, context, report.allowed(kTransformerTolerance)));
    double denoise_gflop = 0;
    for (std::int64_t step = 0; step < variant.sampling_steps; ++step)
      denoise_gflop += passes_a_step * dit_flop(config, latent_grid(config, shape), step) / 1e9;
    video_gflop.push_back(denoise_gflop + decode_gflop);
    videos.push_back({pipelines::attention_name(variant),
                      [&system, &variant, &o] {
                        struct Dropped : pipelines::FrameSink {
                          bool write(const at::Tensor&, std::int64_t) override { return true; }
                        } sink;
                        pipelines::generate_video(system, variant,
                                                  {.prompt = o.prompt, .seed = kBenchSeed}, &sink);
                      },
                      {},
                      0});
  }
  report.run({.name = "denoiser-pass", .shape = size}, passes, gflop);
  const auto vae = system.vae();
  report.run({.name = "decode", .shape = size, .gflop = decode_gflop},
             {{"monarch", [&] { vae->decode(latents); },
               [&] {
                 const at::Tensor small = latents.slice(2, 0, 2).contiguous();
                 return relative_error(vae->decode(small),
                                       exact_vae(system)->decode(small.to(at::kDouble)));
               },
               report.allowed(kVaeTolerance)}});
  report.run(
      {.name = "video",
       .shape = str_cat(size, ", ", options.sampling_steps, " steps",
                        passes_a_step == 2 ? " with guidance" : "", ", text and decode included")},
      videos, video_gflop);
}

}  // namespace

void bench_generate(BenchReport& report, const GenerateBench& o) {
  const at::NoGradGuard no_grad;
  const GenerationOptions options = folder_options(o);
  options.validate();
  WanSystem system(o.model, {.dtype = report.scalar_type(), .device = report.device()});
  report.note(str_cat(o.model, ": ", pipelines::describe_attention(system, options)),
              {{"model", o.model}, {"attention", pipelines::describe_attention(system, options)}});
  encode_prompt(report, system, o);
  if (o.whole) bench_whole(report, system, options, o);
  if (o.streaming) bench_streaming(report, system, options, o);
  report.note(str_cat("peak memory of the process ", format_bytes(peak_memory_bytes())),
              {{"peak_memory_bytes", peak_memory_bytes()}});
}

}  // namespace monarch::apps
