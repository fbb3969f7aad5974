#include "monarch/attention/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "monarch/base/error.h"

namespace monarch::attention::cpu {

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kGeneric: return "generic";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
  }
  return "unknown";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::kGeneric};
#if defined(MONARCH_X86_KERNELS)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    isas.push_back(Isa::kAvx512);
  }
#endif
  return isas;
}

Isa default_isa() {
  const std::vector<Isa> isas = available_isas();
  const char* wanted = std::getenv("MONARCH_ISA");
  if (wanted == nullptr || *wanted == '\0') return isas.back();
  const auto found = std::ranges::find(isas, std::string_view(wanted), isa_name);
  if (found != isas.end()) return *found;
  std::string names;
  for (const Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  fail(ErrorCode::kInvalidArgument, "[monarch_attention] MONARCH_ISA is '", wanted,
       "', which this processor or build does not offer; use one of: ", names);
}

const Kernels& kernels(Isa isa) {
#if defined(MONARCH_X86_KERNELS)
  if (isa == Isa::kAvx512) return avx512::kKernels;
  if (isa == Isa::kAvx2) return avx2::kKernels;
#endif
  (void)isa;
  return generic::kKernels;
}

}  // namespace monarch::attention::cpu
