#include "apps/generate/system_options.h"

#include <iostream>

#include "apps/device.h"
#include "monarch/base/error.h"

namespace monarch::apps {
pipelines::WanSystemOptions system_options(const GenerateArguments& a, std::int64_t local_rank) {
  pipelines::WanSystemOptions options;
  options.device = device_of(a.device, local_rank);
  MONARCH_CHECK(a.vram == 0 || !options.device.is_cpu(),
                "[device] --vram limits a GPU's memory and has no meaning with --device cpu; "
                "--low-memory is for that of the machine");
  options.dtype = scalar_type_of(a.dtype, options.device);
  options.low_memory = a.low_memory;
  options.generator_checkpoint = a.checkpoint;
  options.generator_weights =
      a.use_ema ? models::GeneratorWeights::kAveraged : models::GeneratorWeights::kRaw;
  return options;
}

void limit_device_memory(pipelines::WanSystem& system, const pipelines::GenerationOptions& options,
                         const GenerateArguments& a, pipelines::Course course,
                         std::int64_t num_videos) {
  if (a.vram == 0) return;
  const pipelines::DeviceBytes bytes = pipelines::device_bytes(system, options, num_videos);
  const pipelines::Residency residency =
      pipelines::plan_memory(bytes, course, static_cast<double>(a.vram));
  system.set_residency(residency);
  if (a.verbose || residency != pipelines::Residency{})
    std::cerr << "monarch: " << describe(residency, bytes, course) << '\n';
}

}  // namespace monarch::apps
