// Tags of the 16-bit element types. A pair of elements is one 32-bit word, the first in its low
// half.
#pragma once

namespace monarch::attention::cuda {

struct Bf16 {};
struct F16 {};

inline constexpr int kWarpSize = 32;

}  // namespace monarch::attention::cuda
