// Instruction sets the kernels are compiled for, and the choice among them at run time.
#pragma once

#include <string_view>
#include <vector>

#include "monarch/attention/cpu/kernels.h"

namespace monarch::attention::cpu {

enum class Isa {
  kGeneric,  // the compiler's baseline: SSE2 on x86-64, NEON on AArch64
  kAvx2,     // AVX2 and FMA
  kAvx512,   // AVX-512 F, DQ, VL and BW
};

// "generic", "avx2", "avx512".
std::string_view isa_name(Isa isa);

// Those this build has and this processor runs, slowest first.
std::vector<Isa> available_isas();

// The last of them, or the one the environment variable MONARCH_ISA names; throws if that one is
// unknown or unavailable.
Isa default_isa();

const Kernels& kernels(Isa isa);

}  // namespace monarch::attention::cpu
