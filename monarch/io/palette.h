// Reduces an RGB frame to 256 colours, for GIF.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace monarch::io {

struct PaletteImage {
  std::array<std::uint32_t, 256> colors{};  // 0xAARRGGBB, opaque
  std::vector<std::uint8_t> indices;        // one a pixel
};

// Median cut (Heckbert 1982) over a histogram of 32 levels a channel; frames of up to 256 such
// colours keep the mean colour of each level exactly.
PaletteImage quantize(std::span<const std::uint8_t> rgb);

}  // namespace monarch::io
