// How flags ask for a model to be loaded.
#pragma once

#include "apps/generate/arguments.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::apps {

// From --dtype, --device, --low-memory, --checkpoint and --use-ema. Throws for a device that is
// not there.
pipelines::WanSystemOptions system_options(const GenerateArguments& arguments);

}  // namespace monarch::apps
