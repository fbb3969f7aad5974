#include "apps/generate/system_options.h"

#include "apps/device.h"

namespace monarch::apps {
namespace {

// A GPU's kernels and products are made for 16 bits.
at::ScalarType scalar_type(const std::string& dtype, const at::Device& device) {
  if (dtype.empty()) return device.is_cpu() ? at::kFloat : at::kBFloat16;
  return dtype == "bf16" ? at::kBFloat16 : dtype == "f16" ? at::kHalf : at::kFloat;
}

}  // namespace

pipelines::WanSystemOptions system_options(const GenerateArguments& a) {
  pipelines::WanSystemOptions options;
  options.device = device_of(a.device);
  options.dtype = scalar_type(a.dtype, options.device);
  options.low_memory = a.low_memory;
  options.generator_checkpoint = a.checkpoint;
  options.generator_weights =
      a.use_ema ? models::GeneratorWeights::kAveraged : models::GeneratorWeights::kRaw;
  return options;
}

}  // namespace monarch::apps
