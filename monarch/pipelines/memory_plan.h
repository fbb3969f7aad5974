// Which networks stay on a device of limited memory, and which come for their stage alone, layer by
// layer, or not at all.
#pragma once

#include <cstdint>
#include <string>

#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::pipelines {

// Which stages of runs need the device at the same time.
enum class Course {
  kStages,  // text, denoising, decoding, one after another
  kChunks,  // text, then denoising and decoding in turns (causal models)
  kLive     // all at any time: prompts come while streams go on
};

// Bytes on the device: weights of the networks, and what is computed beside them.
struct DeviceBytes {
  double text_encoder = 0, text_work = 0;
  double outside_layers = 0, layer = 0;  // of the transformer
  std::int64_t num_layers = 0;
  double denoise_work = 0;  // activations and KV caches
  double vae = 0, decode_work = 0;

  double transformer() const { return outside_layers + static_cast<double>(num_layers) * layer; }
};

// Estimated from sizes, for `num_videos` at the same time: samples made together, or viewers.
DeviceBytes device_bytes(const WanSystem& system, const GenerationOptions& options,
                         std::int64_t num_videos);

Course course_of(const GenerationOptions& options);

// The most that the device holds at once.
double peak_bytes(const DeviceBytes& bytes, Course course, const Residency& residency);

// The fastest residency whose peak is within the budget, in bytes. Throws kOutOfMemory, saying what
// the least one needs and for what.
Residency plan_memory(const DeviceBytes& bytes, Course course, double budget);

// "text encoder freed after use; transformer streamed layer by layer, 2.6 GiB from the host's
// memory a pass; at most 7.1 GiB at once": what it means and costs.
std::string describe(const Residency& residency, const DeviceBytes& bytes, Course course);

}  // namespace monarch::pipelines
