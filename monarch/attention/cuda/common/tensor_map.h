// Where a kernel finds the tiles of a tensor: 128 bytes that the driver fills
// (cuTensorMapEncodeTiled) and the hardware reads.
#pragma once

#include <array>
#include <cstdint>

namespace monarch::attention::cuda {

struct alignas(64) TensorMap {
  std::array<unsigned char, 128> bytes{};
};

// What it is filled from: 16-bit elements [batch, tokens, heads, head_dim], in boxes of box_tokens
// tokens of one head and 64 of head_dim.
struct TensorTiles {
  const std::uint16_t* data = nullptr;
  std::array<std::uint32_t, 4> sizes{};   // head_dim, heads, tokens, batch
  std::array<std::int64_t, 3> strides{};  // elements: of heads, tokens, batches
  std::uint32_t box_tokens = 1;
};

// Where a box begins.
struct TensorPoint {
  int depth = 0;
  int head = 0;
  int token = 0;
  int batch = 0;
};

inline constexpr std::uint32_t kBoxDepth = 64;  // elements: 128 bytes, the swizzle's

}  // namespace monarch::attention::cuda
