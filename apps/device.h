// --device.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace monarch::apps {

// "cpu", "cuda" (number `index`) or "cuda:N". Throws kInvalidArgument for another name,
// kUnsupported for a device that is not there, saying why.
at::Device device_of(const std::string& name, std::int64_t index = 0);

}  // namespace monarch::apps
