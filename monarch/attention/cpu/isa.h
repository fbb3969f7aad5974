// Instruction sets the kernels are compiled for, and the choice among them at run time.
#pragma once

#include <string_view>
#include <vector>

#include "monarch/attention/cpu/kernels.h"
#include "monarch/base/dtype.h"

namespace monarch::attention::cpu {

enum class Isa {
  kGeneric,     // the compiler's baseline: SSE2 on x86-64, NEON on AArch64
  kAvx2,        // AVX2 and FMA
  kAvx512,      // AVX-512 F, DQ, VL and BW
  kAvx512Bf16,  // those and AVX512-BF16: products of bf16 by dot-product instructions
  kAmx,         // those and AMX-BF16: products of bf16 by the tile unit
};

// "generic", "avx2", "avx512", "avx512-bf16", "amx".
std::string_view isa_name(Isa isa);

// The last two take BF16 tensors alone, the others F32, BF16 and F16.
bool takes(Isa isa, DType dtype);

// What runs tensors that this one does not take: AVX-512 for the bf16 sets.
Isa isa_beneath(Isa isa);

// Those this build has and this processor runs on tensors of `dtype`, slowest first. AMX also needs
// the operating system's permission, which the first call asks for, once for the process; where it
// is refused AMX is not among them.
std::vector<Isa> available_isas(DType dtype = DType::kF32);

// What MONARCH_ISA may also name: kernels of a GPU (registry.h). It chooses nothing on a CPU.
inline constexpr std::string_view kGpuIsa = "sm90a";

// The last of them, or the one the environment variable MONARCH_ISA names (for tensors it does not
// take, the one beneath); throws if that one is unknown or unavailable.
Isa default_isa(DType dtype = DType::kF32);

const Kernels& kernels(Isa isa);

}  // namespace monarch::attention::cpu
