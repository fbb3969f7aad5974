#include "monarch/pipelines/memory_plan.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "monarch/base/error.h"
#include "monarch/models/wan/layer_names.h"
#include "monarch/pipelines/run_config.h"

namespace monarch::pipelines {
namespace {

using Text = Residency::Text;
using Transformer = Residency::Transformer;

double num_elements(const models::Shape& shape) {
  double product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<double>(extent);
  return product;
}
double num_elements(const models::ShapeMap& shapes) {
  double total = 0;
  for (const auto& [name, shape] : shapes) total += num_elements(shape);
  return total;
}

// Two prompts at once: scores and hidden values of a layer, and its largest matrix converted.
double text_work_bytes(const models::Umt5Config& config, double element_bytes) {
  const auto tokens = static_cast<double>(config.seq_len), dim = static_cast<double>(config.dim),
             hidden = static_cast<double>(config.dim_ffn);
  const double scores = 2 * static_cast<double>(config.num_heads) * tokens * tokens * 4;
  return scores + element_bytes * (2 * tokens * (6 * dim + 3 * hidden) + dim * hidden);
}

// On the device in each stage.
struct StagePeaks {
  double text = 0, denoise = 0, decode = 0;
};

StagePeaks stage_peaks(const DeviceBytes& bytes, Course course, const Residency& residency) {
  const bool host = residency.text == Text::kOnHost;
  const double text = host ? 0 : bytes.text_encoder;
  const double text_work = host ? 0 : bytes.text_work;
  const bool streamed = residency.transformer == Transformer::kStreamed;
  const double transformer =
      streamed ? bytes.outside_layers + 2 * bytes.layer : bytes.transformer();
  if (course == Course::kLive) {
    const double at_once =
        text + text_work + transformer + bytes.vae + bytes.denoise_work + bytes.decode_work;
    return {at_once, at_once, at_once};
  }
  const double kept_text = residency.text == Text::kKept ? text : 0;
  const double kept_transformer = residency.transformer == Transformer::kFreed ? 0 : transformer;
  const double kept_vae = residency.keep_vae ? bytes.vae : 0;
  StagePeaks peaks{.text = text + text_work + kept_transformer + kept_vae,
                   .denoise = transformer + bytes.denoise_work + kept_text + kept_vae,
                   .decode = bytes.vae + bytes.decode_work + kept_text + kept_transformer};
  if (course == Course::kChunks) {
    peaks.denoise = peaks.decode =
        transformer + bytes.denoise_work + bytes.vae + bytes.decode_work + kept_text;
  }
  return peaks;
}

std::string in_gib(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", bytes / (1 << 30));
  return text;
}

}  // namespace

DeviceBytes device_bytes(const WanSystem& system, const GenerationOptions& options,
                         std::int64_t num_videos) {
  const models::WanConfig config = run_config(system, options);
  const LatentShape latent = latent_shape(system, options);
  const auto element = static_cast<double>(system.tensor_options().dtype().itemsize());
  const auto videos = static_cast<double>(num_videos);
  const bool guided = options.denoising_step_list.empty() && options.guidance_scale != 1;
  const auto frame_tokens = static_cast<double>((latent.height / config.patch_size[1]) *
                                                (latent.width / config.patch_size[2]));
  const double tokens = static_cast<double>(latent.frames) * frame_tokens;
  const double tokens_at_once =
      options.causal ? static_cast<double>(options.num_frame_per_block) * frame_tokens : tokens;
  const auto dim = static_cast<double>(config.dim);
  const double activations =
      element * tokens_at_once * (8 * dim + 2 * static_cast<double>(config.ffn_dim));
  const double cached_frames =
      static_cast<double>(config.local_attn_size == -1 ? latent.frames : config.local_attn_size);
  const double caches = options.causal ? element * (guided ? 2 : 1) * 2 *
                                             static_cast<double>(config.num_layers) *
                                             cached_frames * frame_tokens * dim
                                       : 0;
  DeviceBytes bytes;
  bytes.text_encoder = system.text_encoder_bytes();
  bytes.text_work = text_work_bytes(system.text_config(), element);
  double layers = 0;
  for (const auto& [name, shape] : models::dit_parameter_shapes(config)) {
    (models::layer_of(name) ? layers : bytes.outside_layers) += element * num_elements(shape);
  }
  bytes.num_layers = config.num_layers;
  bytes.layer = layers / static_cast<double>(config.num_layers);
  bytes.denoise_work = videos * (activations + caches);
  bytes.vae = element * num_elements(models::parameter_shapes(system.vae_config()));
  // The decoder's last stage holds about six copies of four frames at full resolution.
  bytes.decode_work = 6 * 4 * videos * element *
                      static_cast<double>(options.width * options.height * system.vae_config().dim);
  return bytes;
}

Course course_of(const GenerationOptions& options) {
  return options.causal ? Course::kChunks : Course::kStages;
}

double peak_bytes(const DeviceBytes& bytes, Course course, const Residency& residency) {
  const StagePeaks peaks = stage_peaks(bytes, course, residency);
  return std::max({peaks.text, peaks.denoise, peaks.decode});
}

Residency plan_memory(const DeviceBytes& bytes, Course course, double budget) {
  // From the fastest: a text encoder on the CPU costs seconds a prompt, networks that are freed
  // are read again for every prompt, streamed layers cost a copy of all of them in every pass.
  Residency residency;
  for (const Transformer transformer :
       {Transformer::kKept, Transformer::kFreed, Transformer::kStreamed}) {
    for (const Text text : {Text::kKept, Text::kFreed, Text::kOnHost}) {
      residency = {
          .text = text, .transformer = transformer, .keep_vae = transformer == Transformer::kKept};
      if (peak_bytes(bytes, course, residency) <= budget) return residency;
    }
  }
  const StagePeaks peaks = stage_peaks(bytes, course, residency);
  const bool denoise = peaks.denoise >= peaks.decode;
  fail(ErrorCode::kOutOfMemory, "[monarch_pipelines] a budget of ", in_gib(budget),
       " on the device is too little: even with the text encoder on the CPU and the transformer's "
       "layers streamed from the host's memory, ",
       denoise ? "denoising" : "decoding", " needs about ",
       in_gib(std::max(peaks.denoise, peaks.decode)), ", ",
       in_gib(denoise ? bytes.denoise_work : bytes.decode_work),
       " of it for the video itself; give more (--vram), or take a smaller --size or fewer "
       "--frames");
}

std::string describe(const Residency& residency, const DeviceBytes& bytes, Course course) {
  const auto text = residency.text == Text::kKept    ? "kept"
                    : residency.text == Text::kFreed ? "freed after use"
                                                     : "on the CPU";
  const std::string transformer =
      residency.transformer == Transformer::kKept ? "kept"
      : residency.transformer == Transformer::kFreed
          ? "read again for every prompt"
          : str_cat("streamed layer by layer, ",
                    in_gib(static_cast<double>(bytes.num_layers) * bytes.layer),
                    " from the host's memory in every pass");
  return str_cat("text encoder ", text, "; transformer ", transformer, "; VAE ",
                 residency.keep_vae ? "kept" : "freed after use", "; about ",
                 in_gib(peak_bytes(bytes, course, residency)), " at once");
}

}  // namespace monarch::pipelines
