#include "apps/device.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <charconv>

#include "monarch/attention/cpu/isa.h"
#include "monarch/base/error.h"

namespace monarch::apps {
namespace {

std::string why_missing(std::int64_t index) {
  if (!c10::impl::hasDeviceGuardImpl(at::kCUDA)) {
    return "this build has none; build with the preset 'cuda', or use --device cpu";
  }
  const std::int64_t count = c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
  if (count == 0) {
    return "the driver shows none (nvidia-smi lists them, CUDA_VISIBLE_DEVICES hides them); mend "
           "that, or use --device cpu";
  }
  return index < count ? "" : str_cat("there are ", count, ", numbered from 0");
}

}  // namespace

at::Device device_of(const std::string& name, std::int64_t index) {
  if (name == "cpu") return at::kCPU;
  constexpr std::string_view kNumbered = "cuda:";
  bool known = name == "cuda";
  if (name.starts_with(kNumbered)) {
    const char* const end = name.data() + name.size();
    const auto [stopped, error] = std::from_chars(name.data() + kNumbered.size(), end, index);
    known = error == std::errc{} && stopped == end && index >= 0 && index < 128;
  }
  MONARCH_CHECK(known, "[device] unknown device '", name,
                "'; use cpu or cuda, or cuda:N of several");
  const std::string missing = why_missing(index);
  MONARCH_CHECK_CODE(missing.empty(), kUnsupported, "[device] --device ", name,
                     ": no CUDA device: ", missing);
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

bool multiplies_bfloat16(const at::Device& device) {
  using attention::cpu::Isa;
  return !device.is_cpu() ||
         attention::cpu::available_isas(DType::kBF16).back() >= Isa::kAvx512Bf16;
}

at::ScalarType scalar_type_of(const std::string& name, const at::Device& device) {
  if (name.empty()) return device.is_cpu() ? at::kFloat : at::kBFloat16;
  return name == "bf16" ? at::kBFloat16 : name == "f16" ? at::kHalf : at::kFloat;
}

}  // namespace monarch::apps
