#include "monarch/attention/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "monarch/base/error.h"
#if defined(MONARCH_X86_KERNELS)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace monarch::attention::cpu {
namespace {

#if defined(MONARCH_X86_KERNELS)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

// The tile registers' state is large, so Linux keeps it only for processes that ask
// (Documentation/arch/x86/xstate.rst). It may refuse, for instance to one whose alternate signal
// stacks are too small to save them on.
bool tiles_permitted() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_amx() {
  static const bool answer = [] {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    constexpr unsigned kAmxBf16AndTile = (1U << 22) | (1U << 24);
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
           (d & kAmxBf16AndTile) == kAmxBf16AndTile && tiles_permitted();
  }();
  return answer;
}

// Intel's cores do a bf16 dot product of 512 bits in two cycles (measured: half the arithmetic of
// two float multiply-adds a cycle), AMD's, as documented, in one, which is twice theirs.
bool dot_products_are_fast() { return __builtin_cpu_is("amd"); }
#endif

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kGeneric: return "generic";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx512Bf16: return "avx512-bf16";
    case Isa::kAmx: return "amx";
  }
  return "unknown";
}

bool takes(Isa isa, DType dtype) {
  if (dtype == DType::kBF16) return true;
  return isa_beneath(isa) == isa && (dtype == DType::kF32 || dtype == DType::kF16);
}

Isa isa_beneath(Isa isa) {
  return isa == Isa::kAvx512Bf16 || isa == Isa::kAmx ? Isa::kAvx512 : isa;
}

std::vector<Isa> available_isas(DType dtype) {
  std::vector<Isa> isas{Isa::kGeneric};
#if defined(MONARCH_X86_KERNELS)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::kAvx2);
  if (has_avx512()) {
    isas.push_back(Isa::kAvx512);
    if (__builtin_cpu_supports("avx512bf16")) {
      isas.insert(dot_products_are_fast() ? isas.end() : isas.end() - 1, Isa::kAvx512Bf16);
      if (has_amx()) isas.push_back(Isa::kAmx);
    }
  }
#endif
  std::erase_if(isas, [&](Isa isa) { return !takes(isa, dtype); });
  return isas;
}

Isa default_isa(DType dtype) {
  const char* wanted = std::getenv("MONARCH_ISA");
  if (wanted == nullptr || *wanted == '\0' || wanted == kGpuIsa)
    return available_isas(dtype).back();
  const std::vector<Isa> isas = available_isas(DType::kBF16);
  const auto found = std::ranges::find(isas, std::string_view(wanted), isa_name);
  if (found != isas.end()) return takes(*found, dtype) ? *found : isa_beneath(*found);
  std::string names;
  for (const Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  fail(ErrorCode::kInvalidArgument, "[monarch_attention] MONARCH_ISA is '", wanted,
       "', which this processor or build does not offer; use one of: ", names);
}

const Kernels& kernels(Isa isa) {
#if defined(MONARCH_X86_KERNELS)
  switch (isa) {
    case Isa::kGeneric: return generic::kKernels;
    case Isa::kAvx2: return avx2::kKernels;
    case Isa::kAvx512: return avx512::kKernels;
    case Isa::kAvx512Bf16: return avx512_bf16::kKernels;
    case Isa::kAmx: return amx::kKernels;
  }
#endif
  (void)isa;
  return generic::kKernels;
}

}  // namespace monarch::attention::cpu
