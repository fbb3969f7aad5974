// The second stage of an iteration: per column j a small attention of queries i and key rows r,
//   x[i,r] = s q[i,j] . a_L[r,j] + H[r,j]      L[i,:] = softmax_r x[i,:]
// in three passes over it, a warp for 16 rows of one column, eight rows of the other side at a
// time:
//   kLogSums  log sum_r e^x of each i
//   kRefine   a_R[r,j] = sum_i L[i,r] q[i,j], c_R[r,j] = sum_i L[i,r]; stored as a_R / bounded c_R
//   kOutput   out[i,j] = sum_r L[i,r] Y[r,j], with a running softmax
// The work is little and every operand is read once a row tile, so operands come straight from
// memory, in the order of the matrix fragments; the right ones of the sums are transposed in
// registers.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/sm80/step_unit.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/step_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, ColumnPass kPass>
class StepColumns {
  static constexpr int kDepth = kHeadDim / 16;
  static constexpr bool kRowsAreKeys = kPass == ColumnPass::kRefine;

 public:
  MONARCH_DEVICE explicit StepColumns(const StepArgs& args)
      : args_(args),
        g_(device::thread_index() % kWarpSize / 4),
        t_(device::thread_index() % kWarpSize % 4) {}

  MONARCH_DEVICE void run() {
    const int row_tiles = (num_rows() + 15) / 16;
    const int col_tiles = (args_.cols + kWarps - 1) / kWarps;
    int rest = device::block_index();
    first_row_ = rest % row_tiles * 16;
    rest /= row_tiles;
    col_ = rest % col_tiles * kWarps + device::thread_index() / kWarpSize;
    unit_ = rest / col_tiles;
    if (col_ >= args_.cols) return;  // the whole warp; there are no barriers
    load_rows();
    for (int first = 0; first < num_others(); first += 8) fold(first);
    store();
  }

 private:
  MONARCH_DEVICE int num_rows() const { return kRowsAreKeys ? args_.rows : args_.queries; }
  MONARCH_DEVICE int num_others() const { return kRowsAreKeys ? args_.queries : args_.rows; }
  MONARCH_DEVICE std::int64_t key_index(int row) const {
    const int last = args_.rows - 1;
    return (std::int64_t{unit_} * args_.rows + (row < last ? row : last)) * args_.cols + col_;
  }
  MONARCH_DEVICE std::int64_t query_index(int query) const {
    const int last = args_.queries - 1;
    return (std::int64_t{unit_} * args_.queries + (query < last ? query : last)) * args_.cols +
           col_;
  }
  MONARCH_DEVICE std::int64_t query_token(int query) const {
    const int last = args_.queries - 1;
    return row_token(args_.q_map, unit_ % args_.q_blocks, query < last ? query : last) +
           token_on(args_.q_map.col, col_);
  }
  template <typename Element>
  MONARCH_DEVICE Element* query_row(const Operand<Element>& operand, int query) const {
    return head_of(operand, args_, unit_) + query_token(query) * operand.token_stride;
  }
  MONARCH_DEVICE const std::uint16_t* key_row(int row) const {
    return args_.a_l + key_index(row) * args_.head_dim;
  }
  MONARCH_DEVICE std::uint32_t word(const std::uint16_t* row, int d) const {
    return channels(args_, row, d);
  }

  MONARCH_DEVICE void load_rows() {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row_ + 8 * half + g_;
      load_left(left_, half, args_, kRowsAreKeys ? key_row(row) : query_row(args_.q, row));
      max_[half] = -INFINITY;
      if (kRowsAreKeys) entropy_[half] = args_.entropy[key_index(row)];
    }
  }

  // Eight rows of the other side, from `first` on.
  MONARCH_DEVICE void fold(int first) {
    const int other = first + g_;
    const std::uint16_t* const right = kRowsAreKeys ? query_row(args_.q, other) : key_row(other);
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
        const float shift = kRowsAreKeys ? entropy_[half] - args_.lse[query_index(row)]
                                         : args_.entropy[key_index(row)];
        exponent[side] =
            row < num_others() ? x[2 * half + side] * args_.scale_log2 + shift : -INFINITY;
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
        kRowsAreKeys ? right : args_.y + key_index(other) * args_.head_dim;
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
      if (row >= num_rows()) continue;
      const float lse = max_[half] + device::log2(sum);
      if constexpr (!kRowsAreKeys) {
        if (t_ == 0 && args_.lse != nullptr) args_.lse[query_index(row)] = lse;
      }
      if constexpr (kPass != ColumnPass::kLogSums) {
        if (t_ == 0) {
          if constexpr (kRowsAreKeys) {
            if (args_.next_c_r != nullptr) args_.next_c_r[key_index(row)] = sum;
          } else {
            store_lse(args_, unit_, query_token(row), lse);
          }
        }
        const float divisor = kRowsAreKeys ? bounded_c_r(args_, sum) : sum;
        std::uint16_t* const to = kRowsAreKeys ? args_.next_a_r + key_index(row) * args_.head_dim
                                               : query_row(args_.out, row);
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

  const StepArgs& args_;
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
