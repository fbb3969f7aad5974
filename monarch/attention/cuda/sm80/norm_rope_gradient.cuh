// The backward of norm_rope.cuh. With G turned back by the rotation, n = x inverse_rms:
//   grad_x = inverse_rms (w G - n mean(w G n))      grad_weight = sum over tokens of G n
// A thread block takes every num_blocks-th token and keeps its part of grad_weight in registers; a
// second kernel adds the parts, always in the same order.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/norm_rope_gradient_args.h"
#include "monarch/attention/cuda/sm80/token_row.cuh"

namespace monarch::attention::cuda::sm80 {

inline constexpr int kNormGradientSharedBytes = 2 * kSumBytes;

template <typename T>
class NormRopeGradient {
 public:
  MONARCH_DEVICE explicit NormRopeGradient(const NormRopeGradientArgs& args) : args_(args) {}

  MONARCH_DEVICE void run() {
    int turn = 0;
    for (int row = device::block_index(); row < args_.rows; row += args_.num_blocks) {
      load_gradient(row);
      if (args_.weight != nullptr) go_back(row, turn++ % 2 * kSumBytes);
      store(row);
    }
    if (args_.weight != nullptr) store_sums();
  }

 private:
  template <typename Element>
  MONARCH_DEVICE Element* row_of(const Operand<Element>& operand, int row) const {
    return operand.data + row / args_.tokens * operand.batch_stride +
           row % args_.tokens * operand.token_stride;
  }

  // G, turned back.
  MONARCH_DEVICE void load_gradient(int row) {
    Piece pieces[kNormPieces];
    load_row(pieces, row_of(args_.grad_out, row), args_.channels);
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      const int first = piece_channel(n);
      const float* const angles = args_.rope == nullptr || first >= args_.channels
                                      ? nullptr
                                      : args_.rope +
                                            std::int64_t{row % args_.tokens} * args_.head_dim +
                                            first % args_.head_dim;
      MONARCH_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        float g[2];
        device::unpack<T>(pieces[n].words[pair], g);
        float* const to = &gradient_[n][2 * pair];
        to[0] = g[0];
        to[1] = g[1];
        if (angles != nullptr) {
          const float cosine = angles[2 * pair];
          const float sine = angles[2 * pair + 1];
          to[0] = g[0] * cosine + g[1] * sine;
          to[1] = g[1] * cosine - g[0] * sine;
        }
      }
    }
  }

  // Through the norm.
  MONARCH_DEVICE void go_back(int row, std::uint32_t shared) {
    Piece pieces[kNormPieces];
    load_row(pieces, row_of(args_.x, row), args_.channels);
    const float inverse = args_.inverse_rms[row];
    float sum = 0;
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      const int first = piece_channel(n);
      MONARCH_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        float x[2];
        device::unpack<T>(pieces[n].words[pair], x);
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          const int at = 2 * pair + side;
          const float weight = first < args_.channels ? args_.weight[first + at] : 0.0F;
          const float normed = x[side] * inverse;
          sums_[n][at] += gradient_[n][at] * normed;
          gradient_[n][at] *= weight;
          sum += gradient_[n][at] * normed;
        }
      }
    }
    const float mean = block_sum(sum, shared) / static_cast<float>(args_.channels);
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      MONARCH_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        float x[2];
        device::unpack<T>(pieces[n].words[pair], x);
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          float& value = gradient_[n][2 * pair + side];
          value = inverse * (value - x[side] * inverse * mean);
        }
      }
    }
  }

  MONARCH_DEVICE void store(int row) const {
    std::uint16_t* const to = row_of(args_.grad_x, row);
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      if (piece_channel(n) >= args_.channels) continue;
      Piece result;
      MONARCH_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        result.words[pair] = device::pack<T>(gradient_[n][2 * pair], gradient_[n][2 * pair + 1]);
      }
      *reinterpret_cast<Piece*>(to + piece_channel(n)) = result;
    }
  }
  MONARCH_DEVICE void store_sums() const {
    float* const to = args_.sums + std::int64_t{device::block_index()} * args_.channels;
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      if (piece_channel(n) >= args_.channels) continue;
      MONARCH_UNROLL
      for (int at = 0; at < 8; ++at) to[piece_channel(n) + at] = sums_[n][at];
    }
  }

  const NormRopeGradientArgs& args_;
  float gradient_[kNormPieces][8];
  float sums_[kNormPieces][8] = {};
};

// A thread a channel.
MONARCH_DEVICE void add_weight_sums(const NormRopeGradientArgs& args) {
  const int channel = device::block_index() * kNormThreads + device::thread_index();
  if (channel >= args.channels) return;
  float sum = 0;
  for (int block = 0; block < args.num_blocks; ++block) {
    sum += args.sums[std::int64_t{block} * args.channels + channel];
  }
  args.grad_weight[channel] = sum;
}

}  // namespace monarch::attention::cuda::sm80
