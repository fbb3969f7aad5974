#include "apps/generate/estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "apps/bench/flops.h"
#include "apps/progress.h"
#include "monarch/base/timer.h"
#include "monarch/pipelines/generate.h"

namespace monarch::apps {
namespace {

// Elements of all parameters.
double num_elements(const models::ShapeMap& shapes) {
  double total = 0;
  for (const auto& [name, shape] : shapes) {
    double product = 1;
    for (const std::int64_t extent : shape) product *= static_cast<double>(extent);
    total += product;
  }
  return total;
}

double available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  for (double kibibytes = 0; file >> key >> kibibytes; file.ignore(64, '\n')) {
    if (key == "MemAvailable:") return kibibytes * 1024;
  }
  return 0;
}

// GFLOP/s of a matrix product in this type on this machine.
double measured_gflops(at::TensorOptions options) {
  const std::int64_t n = 1024;
  const at::Tensor a = at::ones({n, n}, options);
  at::Tensor sum = at::matmul(a, a);
  double best = 0;
  for (int run = 0; run < 3; ++run) {
    const Timer timer;
    sum = at::matmul(a, a);
    best = std::max(best, 2.0 * n * n * n / timer.seconds() / 1e9);
  }
  return best;
}

double text_gflop(const models::Umt5Config& c, double tokens) {
  const auto dim = static_cast<double>(c.dim);
  const auto attn = static_cast<double>(c.dim_attn);
  return static_cast<double>(c.num_layers) *
         (2 * tokens * dim * (4 * attn + 3 * static_cast<double>(c.dim_ffn)) +
          4 * tokens * tokens * attn) /
         1e9;
}

Json stage(const char* name, double memory, double gflop, double rate) {
  return {{"stage", name}, {"memory_bytes", memory}, {"gflop", gflop}, {"seconds", gflop / rate}};
}

}  // namespace

Json estimate_run(const pipelines::WanSystem& system, const pipelines::GenerationOptions& options,
                  std::int64_t num_samples) {
  const models::WanConfig config = pipelines::run_config(system, options);
  const pipelines::LatentShape latent = pipelines::latent_shape(system, options);
  const at::TensorOptions tensor_options = system.tensor_options();
  const auto bytes = static_cast<double>(tensor_options.dtype().itemsize());
  const auto batch = static_cast<double>(num_samples);
  const ops::Grid grid{latent.frames / config.patch_size[0], latent.height / config.patch_size[1],
                       latent.width / config.patch_size[2]};
  const double rate = measured_gflops(tensor_options);
  const bool guided = options.denoising_step_list.empty() && options.guidance_scale != 1;

  // Passes over the whole video: solver steps, twice with guidance; few-step models once a step,
  // causal ones plus the pass that fills the cache.
  double passes = guided ? 2.0 * static_cast<double>(options.sampling_steps)
                         : static_cast<double>(options.sampling_steps);
  if (!options.denoising_step_list.empty())
    passes = static_cast<double>(options.denoising_step_list.size());
  if (options.causal) passes += guided ? 2 : 1;
  const double denoise_gflop = batch * passes * dit_flop(config, grid) / 1e9;

  const auto tokens_at_once = static_cast<double>(
      options.causal ? options.num_frame_per_block * grid.frame_tokens() : grid.tokens());
  const auto dim = static_cast<double>(config.dim);
  const double activations =
      batch * bytes * tokens_at_once * (8 * dim + 2 * static_cast<double>(config.ffn_dim));
  const double cache = options.causal ? batch * bytes * (guided ? 2 : 1) * 2 *
                                            static_cast<double>(config.num_layers) *
                                            static_cast<double>(grid.tokens()) * dim
                                      : 0;
  const double transformer = bytes * num_elements(models::dit_parameter_shapes(config));
  const double text = bytes * num_elements(models::parameter_shapes(system.text_config()));
  const double vae = bytes * num_elements(models::parameter_shapes(system.vae_config()));
  // The decoder's last stage holds about six copies of four frames at full resolution.
  const double decode =
      6 * 4 * batch * bytes *
      static_cast<double>(options.width * options.height * system.vae_config().dim);
  const bool keep = !system.options().low_memory;

  Json result;
  result["stages"] = {
      stage("text", text, text_gflop(system.text_config(), guided ? 128 : 64), rate),
      stage("denoise", transformer + activations + cache + (keep ? text : 0), denoise_gflop, rate),
      stage("decode", vae + decode + (keep ? text + transformer : 0),
            batch *
                vae_decode_flop(system.vae_config(), latent.frames, latent.height, latent.width) /
                1e9,
            rate)};
  double peak = 0;
  double seconds = 0;
  for (const Json& one : result["stages"]) {
    peak = std::max(peak, one["memory_bytes"].get<double>());
    seconds += one["seconds"].get<double>();
  }
  result["peak_bytes"] = peak;
  result["seconds"] = seconds;
  result["available_bytes"] = available_memory();
  result["gflops_measured"] = rate;
  if (config.monarch.enable)
    result["attention_sparsity"] = pipelines::monarch_sparsity(config.monarch, grid);
  return result;
}

std::string describe_estimate(const Json& estimate) {
  std::ostringstream out;
  for (const Json& one : estimate["stages"]) {
    out << "  " << one["stage"].get<std::string>() << ": about "
        << format_bytes(static_cast<std::uint64_t>(one["memory_bytes"].get<double>())) << ", "
        << format_duration(one["seconds"].get<double>()) << " ("
        << static_cast<std::int64_t>(one["gflop"].get<double>()) << " GFLOP)\n";
  }
  out << "  peak about "
      << format_bytes(static_cast<std::uint64_t>(estimate["peak_bytes"].get<double>())) << " of "
      << format_bytes(static_cast<std::uint64_t>(estimate["available_bytes"].get<double>()))
      << " available; at least " << format_duration(estimate["seconds"].get<double>()) << " at the "
      << static_cast<std::int64_t>(estimate["gflops_measured"].get<double>())
      << " GFLOP/s of a matrix product here";
  if (estimate["peak_bytes"].get<double>() > estimate["available_bytes"].get<double>()) {
    out << "\n  this will not fit; use --low-memory, --dtype bf16, a smaller --size or fewer "
           "--frames";
  }
  return out.str();
}

}  // namespace monarch::apps
