// --device, and --dtype, whose default depends on it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace monarch::apps {

// "cpu", "cuda" (number `index`) or "cuda:N". Throws kInvalidArgument for another name,
// kUnsupported for a device that is not there, saying why.
at::Device device_of(const std::string& name, std::int64_t index = 0);

// With AVX512-BF16 or AMX on a CPU. Without them LibTorch's products of bfloat16 are slower than
// those of float32; without AVX-512 some forty times.
bool multiplies_bfloat16(const at::Device& device);

// What a command says that was asked for mixed precision and goes without.
inline constexpr std::string_view kFloat32Instead =
    "mixed precision: computing in float32; the CPU has no bfloat16 products (AVX512-BF16, AMX)\n";

// "f32", "bf16" or "f16"; without a name float32 on the CPU, bfloat16 on a GPU, whose kernels and
// products are made for 16 bits.
at::ScalarType scalar_type_of(const std::string& name, const at::Device& device);

}  // namespace monarch::apps
