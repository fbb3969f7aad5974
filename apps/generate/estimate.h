// What a run will need, before it starts.
#pragma once

#include "monarch/base/options_reader.h"
#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::apps {

// Memory in bytes and time in seconds of each stage, from sizes, operation counts and the rate of a
// short matrix product measured now: {"stages": [{"stage", "memory_bytes", "gflop", "seconds"}],
// "peak_bytes", "available_bytes", "seconds", "gflops_measured", "attention_sparsity"}.
Json estimate_run(const pipelines::WanSystem& system, const pipelines::GenerationOptions& options,
                  std::int64_t num_samples);

// The largest memory of a stage without mapped files, which the system may drop: more than is
// available and the process will be killed.
double expected_peak_bytes(const pipelines::WanSystem& system,
                           const pipelines::GenerationOptions& options, std::int64_t num_samples);
double available_memory_bytes();  // 0 if unknown

// estimate_run for a reader.
std::string describe_estimate(const Json& estimate);

}  // namespace monarch::apps
