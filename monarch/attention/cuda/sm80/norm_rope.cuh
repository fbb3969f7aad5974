// RMS norm, rotary embedding and the write into a KV cache (formulas:
// monarch/attention/norm_rope.h), a thread block a token: every channel is read once and written
// once, and stays in registers in between.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/norm_rope_args.h"
#include "monarch/attention/cuda/sm80/token_row.cuh"

namespace monarch::attention::cuda::sm80 {

inline constexpr int kNormSharedBytes = kSumBytes + 8;

template <typename T>
class NormRope {
 public:
  MONARCH_DEVICE explicit NormRope(const NormRopeArgs& args)
      : args_(args), pass_(args.passes[0]), thread_(device::thread_index()) {}

  MONARCH_DEVICE void run() {
    const std::int64_t block = device::block_index();
    int index = 0;
    while (index + 1 < args_.num_passes && block >= args_.passes[index + 1].first_block) ++index;
    pass_ = args_.passes[index];
    const int row = static_cast<int>(block - pass_.first_block);
    const int batch = row / pass_.tokens;
    const int token = row % pass_.tokens;
    load_row(pieces_, pass_.x.data + batch * pass_.x.batch_stride + token * pass_.x.token_stride,
             pass_.channels);
    // One thread finds the place, whose divisions are many, while the others add up squares.
    constexpr std::uint32_t kPlace = kSumBytes;
    if (thread_ == kNormThreads - 1) {
      const std::int64_t place = pass_.block_order ? pass_.layout.position_of_token(token) : token;
      device::store_shared(kPlace, place);
    }
    const float inverse = inverse_rms();
    if (thread_ == 0 && pass_.weight != nullptr && pass_.inverse_rms != nullptr) {
      pass_.inverse_rms[row] = inverse;
    }
    const auto place = device::load_shared<std::int64_t>(kPlace);
    store(token, inverse,
          pass_.out.data + batch * pass_.out.batch_stride + place * pass_.out.token_stride);
  }

 private:
  MONARCH_DEVICE float inverse_rms() const {
    float sum = 0;
    MONARCH_UNROLL
    for (const auto& piece : pieces_) {
      MONARCH_UNROLL
      for (const std::uint32_t word : piece.words) {
        float x[2];
        device::unpack<T>(word, x);
        sum += x[0] * x[0] + x[1] * x[1];
      }
    }
    const float total = block_sum(sum, 0);
    return 1.0F / device::square_root(total / static_cast<float>(pass_.channels) + args_.eps);
  }

  MONARCH_DEVICE void store(int token, float inverse, std::uint16_t* row) const {
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      const int first = piece_channel(n);
      if (first >= pass_.channels) continue;
      const float* const angles =
          pass_.rope == nullptr
              ? nullptr
              : pass_.rope + std::int64_t{token} * pass_.head_dim + first % pass_.head_dim;
      Piece result;
      MONARCH_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        float x[2];
        device::unpack<T>(pieces_[n].words[pair], x);
        if (pass_.weight != nullptr) {
          x[0] *= inverse * pass_.weight[first + 2 * pair];
          x[1] *= inverse * pass_.weight[first + 2 * pair + 1];
        }
        if (angles != nullptr) {
          const float cosine = angles[2 * pair];
          const float sine = angles[2 * pair + 1];
          const float turned = x[0] * cosine - x[1] * sine;
          x[1] = x[0] * sine + x[1] * cosine;
          x[0] = turned;
        }
        result.words[pair] = device::pack<T>(x[0], x[1]);
      }
      *reinterpret_cast<Piece*>(row + first) = result;
    }
  }

  const NormRopeArgs& args_;
  NormRopePass pass_;
  const int thread_;
  Piece pieces_[kNormPieces];
};

}  // namespace monarch::attention::cuda::sm80
