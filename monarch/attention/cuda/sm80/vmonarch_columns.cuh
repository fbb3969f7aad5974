// The second stage of VMonarch (arXiv 2601.22275): per column j a small attention among factor
// rows,
//   x[i,k] = s q[i,j] . a_L[k,j] + H[k,j]      L[i,:] = softmax_k x[i,:]
// in three passes over it, a warp for 16 rows of one column, eight rows of the other side at a
// time:
//   kLogSums  log sum_k e^x of each i
//   kRefine   a_R[k,j] = sum_i L[i,k] q[i,j], c_R[k,j] = sum_i L[i,k]; stored as a_R / max(c_R,
//   min) kOutput   out[i,j] = sum_k L[i,k] Y[k,j], with a running softmax
// The work is little and every operand is read once a row tile, so operands come straight from
// memory, in the order of the matrix fragments; the right ones of the sums are transposed in
// registers.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/flash_rows.cuh"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/vmonarch_forward_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, ColumnPass kPass>
class VMonarchColumns {
  static constexpr int kDepth = kHeadDim / 16;
  static constexpr bool kRowsAreKeys = kPass == ColumnPass::kRefine;

 public:
  MONARCH_DEVICE explicit VMonarchColumns(const VMonarchForwardArgs& args)
      : args_(args),
        g_(device::thread_index() % kWarpSize / 4),
        t_(device::thread_index() % kWarpSize % 4) {}

  MONARCH_DEVICE void run() {
    const int row_tiles = (args_.rows + 15) / 16;
    const int col_tiles = (args_.cols + kWarps - 1) / kWarps;
    int rest = device::block_index();
    first_row_ = rest % row_tiles * 16;
    rest /= row_tiles;
    col_ = rest % col_tiles * kWarps + device::thread_index() / kWarpSize;
    unit_ = rest / col_tiles;
    if (col_ >= args_.cols) return;  // the whole warp; there are no barriers
    load_rows();
    for (int first = 0; first < args_.rows; first += 8) fold(first);
    store();
  }

 private:
  MONARCH_DEVICE std::int64_t index_of(int row) const {
    return (std::int64_t{unit_} * args_.rows + row) * args_.cols + col_;
  }
  MONARCH_DEVICE int clamp_row(int row) const { return row < args_.rows ? row : args_.rows - 1; }
  template <typename Element>
  MONARCH_DEVICE Element* token_of(const Operand<Element>& operand, int row) const {
    const std::int64_t token = token_on(args_.row_axis, row) + token_on(args_.col_axis, col_);
    return operand.data + unit_ / args_.num_heads * operand.batch_stride +
           unit_ % args_.num_heads * operand.head_stride + token * operand.token_stride;
  }
  MONARCH_DEVICE const std::uint16_t* key_row(int row) const {
    return args_.a_l + index_of(row) * args_.head_dim;
  }
  MONARCH_DEVICE std::uint32_t word(const std::uint16_t* row, int d) const {
    return d < args_.head_dim ? *reinterpret_cast<const std::uint32_t*>(row + d) : 0;
  }

  MONARCH_DEVICE void load_rows() {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int index = clamp_row(first_row_ + 8 * half + g_);
      const std::uint16_t* const row = kRowsAreKeys ? key_row(index) : token_of(args_.q, index);
      MONARCH_UNROLL
      for (int depth = 0; depth < kDepth; ++depth) {
        left_[depth][half] = word(row, 16 * depth + 2 * t_);
        left_[depth][2 + half] = word(row, 16 * depth + 8 + 2 * t_);
      }
      max_[half] = -INFINITY;
      if (kRowsAreKeys) entropy_[half] = args_.entropy[index_of(index)];
    }
  }

  // Eight rows of the other side, from `first` on.
  MONARCH_DEVICE void fold(int first) {
    const int other = clamp_row(first + g_);
    const std::uint16_t* const right = kRowsAreKeys ? token_of(args_.q, other) : key_row(other);
    float x[4] = {};
    MONARCH_UNROLL
    for (int depth = 0; depth < kDepth; ++depth) {
      device::multiply<T>(x, left_[depth],
                          {word(right, 16 * depth + 2 * t_), word(right, 16 * depth + 8 + 2 * t_)});
    }
    float weight[4];
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float exponent[2];
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        const int row = first + 2 * t_ + side;
        const std::int64_t at = index_of(clamp_row(row));
        const float shift = kRowsAreKeys ? entropy_[half] - args_.lse[at] : args_.entropy[at];
        exponent[side] =
            row < args_.rows ? x[2 * half + side] * args_.scale_log2 + shift : -INFINITY;
      }
      if constexpr (!kRowsAreKeys) grow(half, exponent);
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        const float e = device::exp2(exponent[side] - (kRowsAreKeys ? 0.0F : max_[half]));
        weight[2 * half + side] = e;
        sum_[half] += e;
      }
    }
    if constexpr (kPass == ColumnPass::kLogSums) return;
    const std::uint32_t e[2] = {device::pack<T>(weight[0], weight[1]),
                                device::pack<T>(weight[2], weight[3])};
    const std::uint16_t* const values =
        kRowsAreKeys ? right : args_.a_r + index_of(other) * args_.head_dim;  // Y lies there
    MONARCH_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      device::multiply<T>(mean_[n], e, device::transposed(word(values, 8 * n + 2 * t_)));
    }
  }

  // The running maximum of a row, and what follows from its growth.
  MONARCH_DEVICE void grow(int half, const float (&exponent)[2]) {
    float max = fmaxf(exponent[0], exponent[1]);
    max = fmaxf(max, device::shuffle_xor(max, 1));
    max = fmaxf(max, device::shuffle_xor(max, 2));
    max = fmaxf(max, max_[half]);
    const float shrink = device::exp2(max_[half] - max);
    max_[half] = max;
    sum_[half] *= shrink;
    MONARCH_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      mean_[n][2 * half] *= shrink;
      mean_[n][2 * half + 1] *= shrink;
    }
  }

  MONARCH_DEVICE void store() const {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float sum = sum_[half];
      sum += device::shuffle_xor(sum, 1);
      sum += device::shuffle_xor(sum, 2);
      const int row = first_row_ + 8 * half + g_;
      if (row >= args_.rows) continue;
      if constexpr (kPass == ColumnPass::kLogSums) {
        if (t_ == 0) args_.lse[index_of(row)] = max_[half] + device::log2(sum);
      } else {
        const float divisor = kRowsAreKeys ? fmaxf(sum, args_.c_r_min) : sum;
        std::uint16_t* const to =
            kRowsAreKeys ? args_.a_r + index_of(row) * args_.head_dim : token_of(args_.out, row);
        MONARCH_UNROLL
        for (int n = 0; n < kHeadDim / 8; ++n) {
          const int d = 8 * n + 2 * t_;
          if (d >= args_.head_dim) continue;
          *reinterpret_cast<std::uint32_t*>(to + d) =
              device::pack<T>(mean_[n][2 * half] / divisor, mean_[n][2 * half + 1] / divisor);
        }
      }
    }
  }

  const VMonarchForwardArgs& args_;
  const int g_;  // lane = 4 g + t
  const int t_;
  int unit_ = 0;
  int col_ = 0;
  int first_row_ = 0;
  std::uint32_t left_[kDepth][4];
  float mean_[kHeadDim / 8][4] = {};
  float max_[2];
  float sum_[2] = {};
  float entropy_[2] = {};  // of this side's rows, where they are keys
};

}  // namespace monarch::attention::cuda::sm80
