// The channels of a token in the registers of a thread block, 16 bytes at a time.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

inline constexpr std::uint32_t kSumBytes = kNormThreads / kWarpSize * 4;

struct alignas(16) Piece {
  std::uint32_t words[4];
};

// First channel of a thread's n-th piece.
MONARCH_DEVICE int piece_channel(int n) { return 8 * (device::thread_index() + n * kNormThreads); }

MONARCH_DEVICE void load_row(Piece (&pieces)[kNormPieces], const std::uint16_t* row, int channels) {
  MONARCH_UNROLL
  for (int n = 0; n < kNormPieces; ++n) {
    const int channel = piece_channel(n);
    pieces[n] = channel < channels ? *reinterpret_cast<const Piece*>(row + channel) : Piece{};
  }
}

// Over all threads, through kSumBytes of shared memory at `offset`. Has a barrier between writing
// and reading; the next but one sum may use the same bytes again.
MONARCH_DEVICE float block_sum(float value, std::uint32_t offset) {
  MONARCH_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) value += device::shuffle_xor(value, mask);
  const int thread = device::thread_index();
  if (thread % kWarpSize == 0) device::store_shared(offset + thread / kWarpSize * 4, value);
  device::barrier();
  float total = 0;
  MONARCH_UNROLL
  for (std::uint32_t at = 0; at < kSumBytes; at += 4) {
    total += device::load_shared<float>(offset + at);
  }
  return total;
}

}  // namespace monarch::attention::cuda::sm80
