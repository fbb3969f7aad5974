#include "apps/generate/estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "apps/bench/flops.h"
#include "apps/progress.h"
#include "monarch/base/timer.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/pipelines/memory_plan.h"
#include "monarch/pipelines/run_config.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

// Bytes on disk of a file, or of the safetensors files of a folder.
double stored_bytes(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return static_cast<double>(fs::file_size(path, ignored));
  double total = 0;
  for (const auto& item : fs::directory_iterator(path, ignored)) {
    if (item.path().extension() == ".safetensors") total += static_cast<double>(item.file_size());
  }
  return total;
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

struct StageCost {
  const char* name;
  double memory;  // bytes that only this process has
  double mapped;  // bytes of files, which the system may drop and read again
  double gflop;
};

std::vector<StageCost> stage_costs(const pipelines::WanSystem& system,
                                   const pipelines::GenerationOptions& options,
                                   std::int64_t num_samples) {
  const models::WanConfig config = pipelines::run_config(system, options);
  const pipelines::LatentShape latent = pipelines::latent_shape(system, options);
  const auto batch = static_cast<double>(num_samples);
  const ops::Grid grid = token_grid(config, latent.frames, latent.height, latent.width);
  const bool guided = options.denoising_step_list.empty() && options.guidance_scale != 1;

  // Passes over the whole video: solver steps, twice with guidance; few-step models once a step,
  // causal ones plus the pass that fills the cache.
  double passes = guided ? 2.0 * static_cast<double>(options.sampling_steps)
                         : static_cast<double>(options.sampling_steps);
  if (!options.denoising_step_list.empty())
    passes = static_cast<double>(options.denoising_step_list.size());
  if (options.causal) passes += guided ? 2 : 1;
  const auto steps = static_cast<std::int64_t>(
      options.denoising_step_list.empty() ? static_cast<std::size_t>(options.sampling_steps)
                                          : options.denoising_step_list.size());
  double denoise_gflop = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    denoise_gflop +=
        batch * passes / static_cast<double>(steps) * dit_flop(config, grid, step) / 1e9;
  }

  const pipelines::DeviceBytes bytes = pipelines::device_bytes(system, options, num_samples);
  // Weights are used as they are stored, or copied where another type is asked for and kept.
  const bool keep = !system.options().low_memory;
  const models::ModelFolder files = models::find_model(system.folder(), /*need_transformer=*/false);
  const double transformer = keep ? bytes.transformer() : 0;
  const double mapped_transformer = keep ? 0 : stored_bytes(files.transformer);
  const double mapped_text = stored_bytes(files.text_encoder);
  return {
      {"text", 0, mapped_text, text_gflop(system.text_config(), guided ? 128 : 64)},
      {"denoise", transformer + bytes.denoise_work, mapped_transformer + (keep ? mapped_text : 0),
       denoise_gflop},
      {"decode", bytes.vae + bytes.decode_work + transformer, keep ? mapped_text : 0,
       batch * vae_decode_flop(system.vae_config(), latent.frames, latent.height, latent.width) /
           1e9}};
}

}  // namespace

double available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  for (double kibibytes = 0; file >> key >> kibibytes; file.ignore(64, '\n')) {
    if (key == "MemAvailable:") return kibibytes * 1024;
  }
  return 0;
}

double expected_peak_bytes(const pipelines::WanSystem& system,
                           const pipelines::GenerationOptions& options, std::int64_t num_samples) {
  double peak = 0;
  for (const StageCost& stage : stage_costs(system, options, num_samples))
    peak = std::max(peak, stage.memory);
  return peak;
}

Json estimate_run(const pipelines::WanSystem& system, const pipelines::GenerationOptions& options,
                  std::int64_t num_samples) {
  const double rate = measured_gflops(system.tensor_options());
  Json result = {{"stages", Json::array()},
                 {"available_bytes", available_memory_bytes()},
                 {"gflops_measured", rate}};
  double peak = 0;
  double seconds = 0;
  for (const StageCost& stage : stage_costs(system, options, num_samples)) {
    result["stages"].push_back({{"stage", stage.name},
                                {"memory_bytes", stage.memory + stage.mapped},
                                {"gflop", stage.gflop},
                                {"seconds", stage.gflop / rate}});
    peak = std::max(peak, stage.memory + stage.mapped);
    seconds += stage.gflop / rate;
  }
  result["peak_bytes"] = peak;
  result["seconds"] = seconds;
  const models::WanConfig config = pipelines::run_config(system, options);
  if (config.monarch.enable) {
    const pipelines::LatentShape latent = pipelines::latent_shape(system, options);
    const ops::Grid grid = token_grid(config, latent.frames, latent.height, latent.width);
    result["attention_sparsity"] = pipelines::monarch_sparsity(config.monarch, grid);
  }
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
