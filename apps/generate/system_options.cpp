#include "apps/generate/system_options.h"

#include "monarch/base/error.h"

namespace monarch::apps {
namespace {

at::ScalarType scalar_type(const std::string& dtype) {
  return dtype == "bf16" ? at::kBFloat16 : dtype == "f16" ? at::kHalf : at::kFloat;
}

at::Device device_of(const std::string& name) {
  MONARCH_CHECK(name == "cpu" || name.starts_with("cuda"), "[generate] unknown device '", name,
                "'; use cpu or cuda");
  MONARCH_CHECK_CODE(name == "cpu" || at::hasCUDA(), kUnsupported, "[generate] --device ", name,
                     ": this build has no CUDA or there is no GPU; build with the preset 'cuda', "
                     "or use --device cpu");
  return at::Device(name);
}

}  // namespace

pipelines::WanSystemOptions system_options(const GenerateArguments& a) {
  pipelines::WanSystemOptions options;
  options.dtype = scalar_type(a.dtype);
  options.device = device_of(a.device);
  options.low_memory = a.low_memory;
  options.generator_checkpoint = a.checkpoint;
  options.generator_weights =
      a.use_ema ? models::GeneratorWeights::kAveraged : models::GeneratorWeights::kRaw;
  return options;
}

}  // namespace monarch::apps
