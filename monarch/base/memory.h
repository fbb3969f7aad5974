#pragma once

#include <cstdint>

namespace monarch {

// Largest resident memory of this process so far.
std::uint64_t peak_memory_bytes();

}  // namespace monarch
