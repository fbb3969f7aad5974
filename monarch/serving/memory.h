#pragma once

#include <cstdint>

namespace monarch::serving {

// Memory that this process occupies now; 0 where the system does not say.
std::uint64_t resident_bytes();

}  // namespace monarch::serving
