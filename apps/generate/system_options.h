// How flags ask for a model to be loaded.
#pragma once

#include <cstdint>

#include "apps/generate/arguments.h"
#include "monarch/pipelines/memory_plan.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::apps {

// From --dtype, --device (cuda: number `local_rank`), --low-memory, --checkpoint and --use-ema.
// Throws for a device that is not there, and for --vram without a GPU.
pipelines::WanSystemOptions system_options(const GenerateArguments& arguments,
                                           std::int64_t local_rank = 0);

// --vram: chooses what stays on the GPU, for `num_videos` at once, and says on standard error what
// does not and what that costs. Throws where the budget is too small. Before any network is
// loaded.
void limit_device_memory(pipelines::WanSystem& system, const pipelines::GenerationOptions& options,
                         const GenerateArguments& arguments, pipelines::Course course,
                         std::int64_t num_videos);

}  // namespace monarch::apps
