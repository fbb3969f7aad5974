// The first stage of Monarch attention for the columns of a tile: scores, softmax and weighted
// means over one key row, out of shared memory. How it is laid out and shared is in
// monarch_forward.cuh.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
class FirstStage {
 protected:
  static constexpr int kDepth = kHeadDim / 16;  // multiplications along D
  static constexpr int kPieces = kHeadDim / 8;  // 16-byte pieces of a row
  static constexpr int kFirstHalf = (kDepth / 2 + 1) / 2;

  MONARCH_DEVICE explicit FirstStage(const MonarchForwardArgs& args)
      : args_(args),
        thread_(device::thread_index()),
        lane_(thread_ % kWarpSize),
        warp_(thread_ / kWarpSize),
        g_(lane_ / 4),
        t_(lane_ % 4) {}

  MONARCH_DEVICE static constexpr std::uint32_t row_pitch_bytes() { return row_pitch(kHeadDim); }
  // Beyond the last column of a block, the last: its weight is zero.
  MONARCH_DEVICE int clamp_col(int l) const {
    return l < args_.block_cols ? l : args_.block_cols - 1;
  }

  // Chains of multiplications along D: two hide each other's latency.
  struct Chains {
    float even[4] = {};
    float odd[4] = {};
  };

  // chains += X Y^T for 16 rows l of X [block_cols, D] at `rows` and the eight rows of Y at
  // `columns`, over pieces of 32 along D.
  MONARCH_DEVICE void multiply_rows(std::uint32_t rows, std::uint32_t columns, int l, int begin,
                                    int end, Chains& chains) const {
    const int matrix = lane_ / 8;
    const std::uint32_t x_address =
        rows + clamp_col(l + lane_ % 8 + matrix % 2 * 8) * row_pitch_bytes() + matrix / 2 * 16;
    const std::uint32_t y_address = columns + lane_ % 8 * row_pitch_bytes() + matrix * 16;
    for (int piece = begin; piece < end; ++piece) {
      std::uint32_t y[4];
      std::uint32_t x[4];
      device::load_matrices(y, y_address + 64 * piece);
      device::load_matrices(x, x_address + 64 * piece);
      device::multiply<T>(chains.even, x, {y[0], y[1]});
      device::load_matrices(x, x_address + 64 * piece + 32);
      device::multiply<T>(chains.odd, x, {y[2], y[3]});
    }
  }
  // To float [kTileCols, score_pitch] at `to`, rows l on.
  MONARCH_DEVICE void store_scores(std::uint32_t to, int l, const Chains& chains) const {
    MONARCH_UNROLL
    for (int entry = 0; entry < 4; ++entry) {
      const std::uint32_t j = 2 * t_ + entry % 2;
      device::store_shared(to + 4 * (j * args_.shared.score_pitch + l + g_ + entry / 2 * 8),
                           chains.even[entry] + chains.odd[entry]);
    }
  }
  // Half of D, in pieces of 32.
  MONARCH_DEVICE static int half_begin(int half) { return half == 0 ? 0 : kFirstHalf; }
  MONARCH_DEVICE static int half_end(int half) { return half == 0 ? kFirstHalf : kDepth / 2; }

  // scores[r, half, j, l] = K[l] . Q[j] over one half of D; Q's rows lie behind K's.
  MONARCH_DEVICE void compute_scores(std::uint32_t slot) const {
    const int col_tiles = (args_.block_cols + 15) / 16;
    const std::uint32_t scores_bytes = 4 * kTileCols * args_.shared.score_pitch;
    for (int task = warp_; task < args_.step_rows * col_tiles * 2; task += kWarps) {
      const int half = task % 2;
      const int r = task / 2 / col_tiles;
      const int l = task / 2 % col_tiles * 16;
      const std::uint32_t rows = slot + r * args_.shared.slot_row_bytes;
      Chains chains;
      multiply_rows(rows, rows + args_.block_cols * row_pitch_bytes(), l, half_begin(half),
                    half_end(half), chains);
      store_scores(args_.shared.scores + (2 * r + half) * scores_bytes, l, chains);
    }
  }

  // e, 1 / sum e and c_L of each column; 16 threads a column, two neighbours each at a time.
  MONARCH_DEVICE void compute_weights(int chunk_row) const {
    const int task = thread_ / 16;
    const int j = task % kTileCols;
    const bool active = task / kTileCols < args_.step_rows;
    const int r = active ? task / kTileCols : 0;  // the others go along for the shuffles
    const int first = thread_ % 16 * 2;
    const std::uint32_t pitch = 4 * args_.shared.score_pitch;
    const std::uint32_t low = args_.shared.scores + (r * 2 * kTileCols + j) * pitch;
    const std::uint32_t high = low + kTileCols * pitch;
    const auto score = [&](int l) {
      const std::uint32_t at = 4 * static_cast<std::uint32_t>(l);
      return args_.scale_log2 *
             (device::load_shared<float>(low + at) + device::load_shared<float>(high + at));
    };
    const int cols = args_.block_cols;
    float max = -INFINITY;
    for (int l = first; l < cols; l += 32) {
      max = fmaxf(max, score(l));
      if (l + 1 < cols) max = fmaxf(max, score(l + 1));
    }
    MONARCH_UNROLL
    for (int mask = 8; mask > 0; mask /= 2) max = fmaxf(max, device::shuffle_xor(max, mask));

    float sum = 0;          // of the exact weights
    float entropy_sum = 0;  // of weight times exponent
    float rounded_sum = 0;
    for (int l = first; l < round_up(cols, 16); l += 32) {
      float e[2] = {0, 0};
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        if (l + side >= cols) continue;
        const float x = score(l + side) - max;
        e[side] = device::exp2(x);
        sum += e[side];
        if (e[side] != 0) entropy_sum += e[side] * x;  // 0 for weights that vanish
      }
      const std::uint32_t word = device::pack<T>(e[0], e[1]);
      device::unpack<T>(word, e);
      rounded_sum += e[0] + e[1];
      if (active) {
        device::store_shared(
            args_.shared.weights + 2 * ((r * kTileCols + j) * args_.shared.weight_pitch + l), word);
      }
    }
    MONARCH_UNROLL
    for (int mask = 8; mask > 0; mask /= 2) {
      sum += device::shuffle_xor(sum, mask);
      entropy_sum += device::shuffle_xor(entropy_sum, mask);
      rounded_sum += device::shuffle_xor(rounded_sum, mask);
    }
    if (active && first == 0) {
      device::store_shared(args_.shared.inverse + 4 * (r * kTileCols + j), 1.0F / rounded_sum);
      device::store_shared(args_.shared.c_l + 4 * (j * kChunkRows + chunk_row + r),
                           entropy_sum / sum - device::log2(sum));
    }
  }

  // sum[d, j] += sum_l X[l, d] w[j, l] for 16 columns of X at `columns` and w, 16 bit, at
  // `weights`.
  MONARCH_DEVICE void add_weighted(std::uint32_t columns, std::uint32_t weights,
                                   float (&sum)[4]) const {
    const int matrix = lane_ / 8;
    columns += matrix % 2 * 16;
    weights += 2 * (g_ * args_.shared.weight_pitch + 2 * t_);
    for (int l = 0; l < args_.block_cols; l += 16) {
      std::uint32_t x[4];
      device::load_matrices_transposed(
          x, columns + clamp_col(l + lane_ % 8 + matrix / 2 * 8) * row_pitch_bytes());
      const auto w = device::load_shared<std::uint32_t>(weights + 2 * l);
      if (l + 8 < args_.block_cols) {
        device::multiply<T>(sum, x, {w, device::load_shared<std::uint32_t>(weights + 2 * l + 16)});
      } else {
        device::multiply<T>(sum, {x[0], x[1]}, w);
      }
    }
  }

  // to[j, chunk_row + r, :] = sum_l e[j, l] X[l, :] / sum_l e[j, l], X = K or V of each row.
  MONARCH_DEVICE void compute_means(std::uint32_t slot, std::uint32_t to, int chunk_row) const {
    for (int task = warp_; task < args_.step_rows * kDepth; task += kWarps) {
      const int r = task / kDepth;
      const int d = task % kDepth * 16;
      float sum[4] = {};
      add_weighted(slot + r * args_.shared.slot_row_bytes + 2 * d,
                   args_.shared.weights + 2 * r * kTileCols * args_.shared.weight_pitch, sum);
      const std::uint32_t inverse = args_.shared.inverse + 4 * (r * kTileCols + 2 * t_);
      const auto first = device::load_shared<float>(inverse);
      const auto second = device::load_shared<float>(inverse + 4);
      const std::uint32_t row = to + g_ * args_.shared.column_pitch +
                                (chunk_row + r) * row_pitch_bytes() + 2 * d + 4 * t_;
      device::store_shared(row,
                           device::transposed(device::pack<T>(sum[0] * first, sum[1] * second)));
      device::store_shared(row + 16,
                           device::transposed(device::pack<T>(sum[2] * first, sum[3] * second)));
    }
  }

  const MonarchForwardArgs& args_;
  const int thread_;
  const int lane_;
  const int warp_;
  const int g_;  // lane = 4 g + t
  const int t_;
};

}  // namespace monarch::attention::cuda::sm80
