// The first stage of Monarch attention (sm80/monarch_forward.cuh says what it computes) for the
// eight columns of a tile and one key row, by a warpgroup, with matrix products out of the ring.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device_sm90.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"
#include "monarch/attention/cuda/sm90/key_ring.cuh"
#include "monarch/attention/cuda/sm90/tiles.h"

namespace monarch::attention::cuda::sm90 {

template <typename T, int kHeadDim>
class FirstStage {
 protected:
  using L = Layout<kHeadDim>;
  static constexpr int kChunks = L::kChunks;

  MONARCH_DEVICE explicit FirstStage(const MonarchSm90Args& args)
      : args_(args.forward),
        all_(args),
        thread_(device::thread_index()),
        lane_(thread_ % kWarpSize),
        warp_(thread_ / kWarpSize),
        g_(lane_ / 4),
        t_(lane_ % 4),
        group_(thread_ / kGroupThreads) {}

  MONARCH_DEVICE void consumers_barrier() const {
    device::barrier(kConsumers + 1, kConsumers * kGroupThreads);
  }

  // a_L, Y and c_L of this warpgroup's row of the step, to row `chunk_row` of the chunk. Takes two
  // pieces of the ring.
  MONARCH_DEVICE void compute_row(int chunk_row) {
    float scores[1][4];
    compute_scores(scores);
    compute_weights(scores[0]);
    RingPlace values = at_;
    values.advance();
    float a_l[kChunks][4];
    float y[kChunks][4];
    compute_means(at_, a_l);
    KeyRing<kHeadDim>::wait(values);
    compute_means(values, y);
    device::products_wait<1>(a_l);
    KeyRing<kHeadDim>::release(all_, at_);
    if (chunk_row < kStepRows) consumers_barrier();  // the chunk before has been folded
    float inverse[2];
    load_inverse(inverse);
    store_means(a_l, inverse, args_.shared.a_l, chunk_row);
    if (thread_ % kGroupThreads < kTileCols) store_c_l(thread_ % kGroupThreads, chunk_row);
    device::products_wait<0>(y);
    KeyRing<kHeadDim>::release(all_, values);
    store_means(y, inverse, args_.shared.y, chunk_row);
    at_ = values;
    at_.advance();
  }

  const MonarchForwardArgs& args_;
  const MonarchSm90Args& all_;
  const int thread_;
  const int lane_;
  const int warp_;
  const int g_;  // lane = 4 g + t
  const int t_;

 private:
  struct alignas(8) Pair {
    float values[2];
  };
  enum Partial : std::uint8_t { kMax, kSum, kRounded, kEntropy };

  MONARCH_DEVICE void group_barrier() const { device::barrier(1 + group_, kGroupThreads); }
  MONARCH_DEVICE std::uint32_t partial(Partial kind, int warp) const {
    return L::kPartials + (kind * kStepRows + group_) * L::kPartialBytes + warp * kTileCols * 4;
  }
  MONARCH_DEVICE std::uint32_t weights() const { return L::kWeights + group_ * L::kWeightBytes; }

  // scores[l, j] = K[l] . Q[j]: this thread's are of l = 16 (warp of the group) + g and 8 more, j =
  // 2 t and 2 t + 1.
  MONARCH_DEVICE void compute_scores(float (&scores)[1][4]) const {
    KeyRing<kHeadDim>::wait(at_);
    const std::uint32_t piece = KeyRing<kHeadDim>::offset(at_);
    const std::uint32_t keys = piece + group_ * L::kRowBytes;
    const std::uint32_t queries = piece + L::kQueries + group_ * kChunks * L::kQueryChunkBytes;
    device::products_begin();
    MONARCH_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      MONARCH_UNROLL
      for (int depth = 0; depth < 128; depth += 32) {
        device::multiply_async<T, false>(
            scores[0], device::swizzled_matrix(keys + chunk * L::kChunkBytes + depth),
            device::swizzled_matrix(queries + chunk * L::kQueryChunkBytes + depth),
            chunk + depth > 0);
      }
    }
    device::products_commit();
    device::products_wait<0>(scores);
  }

  // Over the eight lanes that share columns: on all of them.
  template <typename Combine>
  MONARCH_DEVICE static void reduce(float (&values)[2], const Combine& combine) {
    MONARCH_UNROLL
    for (int mask = 4; mask <= 16; mask *= 2) {
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        values[side] = combine(values[side], device::shuffle_xor(values[side], mask));
      }
    }
  }
  // Over the warp's rows, for the other warps.
  template <typename Combine>
  MONARCH_DEVICE void put_partial(Partial kind, float (&values)[2], const Combine& combine) const {
    reduce(values, combine);
    if (g_ == 0) {
      device::store_shared(partial(kind, warp_ % 4) + 8 * t_, Pair{{values[0], values[1]}});
    }
  }

  // e [l, j], unnormalised, 16 bit, and the sums over l of each warp.
  MONARCH_DEVICE void compute_weights(float (&scores)[4]) const {
    const auto maximum = [](float a, float b) { return fmaxf(a, b); };
    const auto add = [](float a, float b) { return a + b; };
    const int first = warp_ % 4 * 16 + g_;
    MONARCH_UNROLL
    for (int entry = 0; entry < 4; ++entry) {
      const bool exists = first + entry / 2 * 8 < args_.block_cols;
      scores[entry] = exists ? scores[entry] * args_.scale_log2 : -INFINITY;
    }
    float max[2] = {fmaxf(scores[0], scores[2]), fmaxf(scores[1], scores[3])};
    put_partial(kMax, max, maximum);
    group_barrier();
    MONARCH_UNROLL
    for (int warp = 0; warp < 4; ++warp) {
      const auto other = device::load_shared<Pair>(partial(kMax, warp) + 8 * t_);
      max[0] = fmaxf(max[0], other.values[0]);
      max[1] = fmaxf(max[1], other.values[1]);
    }
    float sum[2] = {0, 0};      // of the exact weights
    float entropy[2] = {0, 0};  // of weight times exponent
    float rounded[2] = {0, 0};
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float e[2];
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        const float x = scores[2 * half + side] - max[side];
        e[side] = device::exp2(x);
        sum[side] += e[side];
        if (e[side] != 0) entropy[side] += e[side] * x;  // 0 for weights that vanish
      }
      const std::uint32_t word = device::pack<T>(e[0], e[1]);
      device::unpack<T>(word, e);
      rounded[0] += e[0];
      rounded[1] += e[1];
      device::store_shared(weights() + (first + 8 * half) * kTileCols * 2 + 4 * t_, word);
    }
    put_partial(kSum, sum, add);
    put_partial(kRounded, rounded, add);
    put_partial(kEntropy, entropy, add);
    device::fence_async();
    group_barrier();
  }

  // means[d, j] = sum_l X[l, d] e[l, j], X the row's K or V: this thread's are of d = 64 chunk + 16
  // (warp of the group) + g and 8 more.
  MONARCH_DEVICE void compute_means(const RingPlace& from, float (&means)[kChunks][4]) const {
    const std::uint32_t rows = KeyRing<kHeadDim>::offset(from) + group_ * L::kRowBytes;
    device::products_begin();
    MONARCH_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      MONARCH_UNROLL
      for (int l = 0; l < kMaxCols; l += 16) {
        device::multiply_async<T, true>(
            means[chunk], device::swizzled_matrix(rows + chunk * L::kChunkBytes + l * 128),
            device::plain_matrix(weights() + l * kTileCols * 2), l > 0);
      }
    }
    device::products_commit();
  }

  MONARCH_DEVICE void load_inverse(float (&inverse)[2]) const {
    float sum[2] = {0, 0};
    MONARCH_UNROLL
    for (int warp = 0; warp < 4; ++warp) {
      const auto part = device::load_shared<Pair>(partial(kRounded, warp) + 8 * t_);
      sum[0] += part.values[0];
      sum[1] += part.values[1];
    }
    inverse[0] = 1.0F / sum[0];
    inverse[1] = 1.0F / sum[1];
  }

  MONARCH_DEVICE void store_c_l(int j, int chunk_row) const {
    float sum = 0;
    float entropy = 0;
    for (int warp = 0; warp < 4; ++warp) {
      sum += device::load_shared<float>(partial(kSum, warp) + 4 * j);
      entropy += device::load_shared<float>(partial(kEntropy, warp) + 4 * j);
    }
    device::store_shared(args_.shared.c_l + 4 * (j * kChunkRows + chunk_row),
                         entropy / sum - device::log2(sum));
  }

  // to[j, chunk_row, d] = means[d, j] inverse[j]
  MONARCH_DEVICE void store_means(const float (&means)[kChunks][4], const float (&inverse)[2],
                                  std::uint32_t to, int chunk_row) const {
    MONARCH_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int d = 64 * chunk + warp_ % 4 * 16;
      if (d >= kHeadDim) continue;
      const std::uint32_t row = to + g_ * args_.shared.column_pitch +
                                chunk_row * sm80::row_pitch(kHeadDim) + 2 * d + 4 * t_;
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        device::store_shared(row + 16 * half, device::transposed(device::pack<T>(
                                                  means[chunk][2 * half] * inverse[0],
                                                  means[chunk][2 * half + 1] * inverse[1])));
      }
    }
  }

  const int group_;
  RingPlace at_;
};

}  // namespace monarch::attention::cuda::sm90
