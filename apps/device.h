// --device, and --dtype, whose default depends on it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace monarch::apps {

// "cpu", "cuda" (number `index`) or "cuda:N". Throws kInvalidArgument for another name,
// kUnsupported for a device that is not there, saying why.
at::Device device_of(const std::string& name, std::int64_t index = 0);

// "f32", "bf16" or "f16"; without a name float32 on the CPU, bfloat16 on a GPU, whose kernels and
// products are made for 16 bits.
at::ScalarType scalar_type_of(const std::string& name, const at::Device& device);

}  // namespace monarch::apps
