// The end of a forward whose key rows were split among thread blocks.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

// The splits' outputs weighted by their share of the softmax; one warp a query.
template <typename T>
MONARCH_DEVICE void merge_splits(const MonarchForwardArgs& args) {
  const int lane = device::thread_index() % kWarpSize;
  const std::int64_t units = std::int64_t{args.batch} * args.num_heads;
  const std::int64_t row =
      std::int64_t{device::block_index()} * kWarps + device::thread_index() / kWarpSize;
  if (row >= units * args.q_tokens) return;
  const std::int64_t stride = units * args.q_tokens;
  float max = -INFINITY;
  for (int split = 0; split < args.num_splits; ++split) {
    max = fmaxf(max, args.partial_lse[split * stride + row]);
  }
  float sum = 0;
  for (int split = 0; split < args.num_splits; ++split) {
    sum += device::exp2(args.partial_lse[split * stride + row] - max);
  }
  const std::int64_t unit = row / args.q_tokens;
  const std::int64_t token = row % args.q_tokens;
  if (lane == 0 && args.lse != nullptr) {
    args.lse[row] = kLn2 * (max + device::log2(sum));
  }
  std::uint16_t* const out = args.out.data + unit / args.num_heads * args.out.batch_stride +
                             unit % args.num_heads * args.out.head_stride +
                             token * args.out.token_stride;
  for (int d = 2 * lane; d < args.head_dim; d += 2 * kWarpSize) {
    float first = 0;
    float second = 0;
    for (int split = 0; split < args.num_splits; ++split) {
      const float share = device::exp2(args.partial_lse[split * stride + row] - max) / sum;
      const float* const from = args.partial_out + (split * stride + row) * args.head_dim + d;
      first += share * from[0];
      second += share * from[1];
    }
    *reinterpret_cast<std::uint32_t*>(out + d) = device::pack<T>(first, second);
  }
}

}  // namespace monarch::attention::cuda::sm80
