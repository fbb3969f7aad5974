// The streaming half of `monarch bench generate`.
#include <ATen/ATen.h>

#include <memory>
#include <tuple>
#include <utility>

#include "apps/bench/generation.h"
#include "monarch/base/error.h"

namespace monarch::apps {
namespace {

using pipelines::GenerationOptions;
using pipelines::LatentShape;
using pipelines::WanSystem;

// A stream in the middle: the caches hold earlier frames, and each run makes the next chunk anew.
class Stream {
 public:
  Stream(WanSystem& system, const GenerationOptions& options, const GenerateBench& o)
      : model_(system.causal_transformer(pipelines::run_config(system, options))),
        vae_(system.vae()),
        settings_(pipelines::stream_options(system, options, o.cached_frames + o.chunk_frames)),
        schedule_(sampling::FlowMatchConfig::self_forcing(options.timestep_shift)),
        generator_(pipelines::seeded_generator(kBenchSeed)),
        start_(o.cached_frames),
        cache_(new_cache(settings_.shape, system.tensor_options())) {
    const at::NoGradGuard no_grad;
    const std::vector<std::string> prompts = {o.prompt};
    context_ = system.encode_text(prompts);
    flow_ = pipelines::bind_cache(*model_, context_, cache_);
    LatentShape shape = settings_.shape;
    shape.frames = start_;
    if (start_ > 0) {
      const at::Tensor earlier = bench_noise(shape, system.tensor_options());
      pipelines::cache_latents(flow_, earlier, settings_.rollout);
      vae_->decode_chunk(earlier, decoded_);
    }
    shape.frames = o.chunk_frames;
    noise_ = bench_noise(shape, system.tensor_options());
    chunk_ = denoise();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void pass() const { flow_(noise_, sampling::uniform_timestep(noise_, 500), start_, 0); }
  at::Tensor denoise() {
    return pipelines::roll_chunk(flow_, schedule_, noise_, start_, settings_.rollout,
                                 pipelines::noise_source(generator_));
  }
  at::Tensor decode(const at::Tensor& latents) const {
    models::VaeDecodeCache cache = decoded_;
    return pipelines::to_unit_range(vae_->decode_chunk(latents, cache));
  }
  void chunk() { decode(denoise()); }

  // Of a first chunk on the smallest grid that the tiling divides, against float64.
  double pass_error() const {
    const at::Tensor small = corner(noise_, config());
    const auto first_chunk = [&](const at::Tensor& x) {
      LatentShape shape = settings_.shape;
      std::tie(shape.frames, shape.height, shape.width) =
          std::tuple(x.size(2), x.size(3), x.size(4));
      models::DitCache cache = new_cache(shape, x.options());
      return pipelines::bind_cache(*model_, context_.to(x.scalar_type()), cache)(
          x, sampling::uniform_timestep(x, 500), 0, 0);
    };
    return relative_error(first_chunk(small), first_chunk(small.to(at::kDouble)));
  }
  double decode_error(const models::WanVae& exact) const {
    models::VaeDecodeCache start, exact_start;
    const at::Tensor latents = corner(chunk_, config());
    return relative_error(vae_->decode_chunk(latents, start),
                          exact.decode_chunk(latents.to(at::kDouble), exact_start));
  }
  const at::Tensor& latents() const { return chunk_; }
  std::int64_t num_passes() const {
    return static_cast<std::int64_t>(settings_.rollout.timesteps.size()) + 1;
  }
  const LatentShape& shape() const { return settings_.shape; }
  const models::WanConfig& config() const { return model_->config(); }

 private:
  models::DitCache new_cache(LatentShape shape, const at::TensorOptions& options) const {
    const models::WanConfig& config = model_->config();
    if (config.local_attn_size != -1) shape.frames = config.local_attn_size;
    return {config, 1, latent_grid(config, shape).tokens(), options};
  }

  std::shared_ptr<const models::CausalWanDit> model_;
  std::shared_ptr<const models::WanVae> vae_;
  pipelines::StreamOptions settings_;
  sampling::FlowMatchSchedule schedule_;
  at::Generator generator_;
  std::int64_t start_;
  models::DitCache cache_;
  pipelines::ChunkFlow flow_;
  models::VaeDecodeCache decoded_;  // after the earlier frames
  at::Tensor context_, noise_, chunk_;
};

}  // namespace

void bench_streaming(BenchReport& report, WanSystem& system, GenerationOptions options,
                     const GenerateBench& o) {
  options.causal = true;
  options.num_frame_per_block = o.chunk_frames;
  options.num_frames = 4 * (o.cached_frames + o.chunk_frames) - 3;
  if (options.denoising_step_list.empty()) options.denoising_step_list = {1000, 750, 500, 250};
  options.validate();
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Contender> passes;
  std::vector<Contender> chunks;
  std::vector<double> pass_gflop;
  std::vector<double> chunk_gflop;
  double decode_gflop = 0;
  for (const GenerationOptions& variant : with_each_attention(options)) {
    streams.push_back(std::make_unique<Stream>(system, variant, o));
    Stream& stream = *streams.back();
    LatentShape chunk = stream.shape();
    chunk.frames = o.chunk_frames;
    // The first latent frame of a video is one pixel frame; here each is four.
    decode_gflop =
        (vae_decode_flop(system.vae_config(), 1 + chunk.frames, chunk.height, chunk.width) -
         vae_decode_flop(system.vae_config(), 1, chunk.height, chunk.width)) /
        1e9;
    pass_gflop.push_back(dit_chunk_flop(stream.config(), latent_grid(stream.config(), chunk),
                                        latent_grid(stream.config(), stream.shape())) /
                         1e9);
    chunk_gflop.push_back(pass_gflop.back() * static_cast<double>(stream.num_passes()) +
                          decode_gflop);
    passes.push_back({pipelines::attention_name(variant), [&stream] { stream.pass(); },
                      [&stream] { return stream.pass_error(); },
                      report.allowed(kTransformerTolerance)});
    chunks.push_back({pipelines::attention_name(variant), [&stream] { stream.chunk(); }, {}, 0});
  }
  const Stream& first = *streams.front();
  const std::int64_t new_frames = first.decode(first.latents()).size(2);
  const std::string shape =
      str_cat(new_frames, " new frames of ", options.width, 'x', options.height, " (",
              o.chunk_frames, " latent frames on ", o.cached_frames, ')');
  report.run({.name = "stream-pass", .shape = shape}, passes, pass_gflop);
  report.run(
      {.name = "stream-decode", .shape = shape, .gflop = decode_gflop},
      {{"monarch", [&] { first.decode(first.latents()); },
        [&] { return first.decode_error(*exact_vae(system)); }, report.allowed(kVaeTolerance)}});
  const auto& measured =
      report.run({.name = "stream-chunk",
                  .shape = str_cat(shape, ": ", first.num_passes(), " denoiser passes and decode")},
                 chunks, chunk_gflop);
  for (const Measurement& m : measured) {
    const double rate = static_cast<double>(new_frames) / m.seconds_median;
    report.note(str_cat(m.implementation, ": ", rate, " frames a second; played at ",
                        options.frames_per_second),
                {{"frames_per_second", rate},
                 {"implementation", m.implementation},
                 {"played_at", options.frames_per_second}});
  }
}

}  // namespace monarch::apps
