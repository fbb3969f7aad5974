// Flash attention of 128 queries with a row of keys, for what step_args.h is about:
//   R = softmax_l( s query . K[l] )
//   first stage of an iteration   a_L = sum_l R K[l], H = - sum_l R log R, and in the last one also
//                                 Y = sum_l R V[l]; queries and keys are those of one factor row
//   recomputed first frame        out = sum_l R V[l] over all keys
// H is kept online: with the running maximum m, sum = sum e^(x-m) and h = sum e^(x-m) (x-m); when m
// grows by D, h becomes e^-D (h - D sum); in the end H = log sum - h / sum. All to the base 2.
//
// Eight warps of 16 queries each: queries and both means are 160 registers a thread. 64 keys at a
// time pass through two slots of shared memory.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/sm80/step_unit.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/step_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, FlashKind kKind>
class FlashRows {
  static constexpr bool kMeanKeys = kKind != FlashKind::kDense;
  static constexpr bool kMeanValues = kKind != FlashKind::kFactor;
  static constexpr int kDepth = kHeadDim / 16;
  static constexpr int kPieces = kHeadDim / 8;
  static constexpr int kTiles = kFlashKeys / 8;
  static constexpr std::uint32_t kPitch = row_pitch(kHeadDim);
  static constexpr std::uint32_t kOperandBytes = kFlashKeys * kPitch;
  static constexpr std::uint32_t kSlotBytes = (kMeanValues ? 2 : 1) * kOperandBytes;

 public:
  MONARCH_DEVICE explicit FlashRows(const StepArgs& args)
      : args_(args),
        thread_(device::thread_index()),
        lane_(thread_ % kWarpSize),
        g_(lane_ / 4),
        t_(lane_ % 4) {}

  MONARCH_DEVICE void run() {
    locate();
    load_queries();
    issue(0);
    const int tiles = (num_keys_ + kFlashKeys - 1) / kFlashKeys;
    for (int tile = 0; tile < tiles; ++tile) {
      device::copy_async_wait<0>();
      device::barrier();
      if (tile + 1 < tiles) issue(tile + 1);
      if (first_query_ > last_query_) continue;  // this warp has none; it copies for the others
      fold(tile % 2 * kSlotBytes, num_keys_ - tile * kFlashKeys);
    }
    store();
  }

 private:
  MONARCH_DEVICE void locate() {
    const int num_queries = kMeanKeys ? args_.cols : args_.recomputed_tokens;
    const int tiles = (num_queries + kFlashQueries - 1) / kFlashQueries;
    int rest = device::block_index();
    first_query_ = rest % tiles * kFlashQueries + thread_ / kWarpSize * 16;
    last_query_ = num_queries - 1;
    rest /= tiles;
    if constexpr (kMeanKeys) {
      row_ = rest % args_.rows;
      rest /= args_.rows;
    }
    unit_ = rest;
    num_keys_ = kMeanKeys ? args_.cols : args_.kv_tokens;
    if constexpr (kMeanKeys) {
      query_token_ = row_token(args_.q_map, unit_ % args_.q_blocks, row_ % args_.queries);
      key_token_ = key_row_token(args_, row_);
    }
  }
  MONARCH_DEVICE std::int64_t query_token(int index) const {
    return kMeanKeys ? query_token_ + token_on(args_.q_map.col, index) : index;
  }
  MONARCH_DEVICE std::int64_t key_token(int index) const {
    return kMeanKeys ? key_token_ + token_on(args_.k_map.col, index) : index;
  }
  template <typename Element>
  MONARCH_DEVICE Element* head_of(const Operand<Element>& operand) const {
    return sm80::head_of(operand, args_, unit_);
  }
  // Number of a query among all [units, rows, cols].
  MONARCH_DEVICE std::int64_t index_of(int query) const {
    return (std::int64_t{unit_} * args_.rows + row_) * args_.cols + query;
  }

  MONARCH_DEVICE void load_queries() {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int wanted = first_query_ + 8 * half + g_;
      const int query = wanted < last_query_ ? wanted : last_query_;
      const std::uint16_t* const row =
          kMeanKeys && !args_.first_iteration
              ? args_.a_r + index_of(query) * args_.head_dim
              : head_of(args_.q) + query_token(query) * args_.q.token_stride;
      load_left(q_, half, args_, row);
      max_[half] = -INFINITY;
    }
  }

  // Copies 64 keys, and their values; beyond the last key it repeats: finite, and masked.
  MONARCH_DEVICE void issue(int tile) const {
    const std::uint32_t slot = tile % 2 * kSlotBytes;
    for (int piece = thread_; piece < kFlashKeys * kPieces; piece += kThreads) {
      const int row = piece / kPieces;
      const int d = piece % kPieces * 8;
      const int wanted = tile * kFlashKeys + row;
      const std::int64_t key = key_token(wanted < num_keys_ ? wanted : num_keys_ - 1);
      const bool valid = d < args_.head_dim;
      const std::uint32_t to = slot + row * kPitch + 2 * d;
      device::copy_async(to, head_of(args_.k) + (valid ? key * args_.k.token_stride + d : 0),
                         valid);
      if constexpr (kMeanValues) {
        device::copy_async(to + kOperandBytes,
                           head_of(args_.v) + (valid ? key * args_.v.token_stride + d : 0), valid);
      }
    }
    device::copy_async_commit();
  }

  // A tile of keys into the running softmax; `count` of them exist.
  MONARCH_DEVICE void fold(std::uint32_t slot, int count) {
    float score[kTiles][4] = {};
    MONARCH_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      const std::uint32_t rows = slot + (8 * n + lane_ % 8) * kPitch + lane_ / 8 * 16;
      MONARCH_UNROLL
      for (int pair = 0; pair < kDepth / 2; ++pair) {
        std::uint32_t k[4];
        device::load_matrices(k, rows + 64 * pair);
        device::multiply<T>(score[n], q_[2 * pair], {k[0], k[1]});
        device::multiply<T>(score[n], q_[2 * pair + 1], {k[2], k[3]});
      }
    }
    float shrink[2];
    softmax(score, count, shrink);
    const int matrix = lane_ / 8;
    const std::uint32_t right = slot + (lane_ % 8 + matrix % 2 * 8) * kPitch + matrix / 2 * 16;
    if constexpr (kMeanKeys) {
      scale_rows(a_l_, shrink);
      add_mean(score, right, a_l_);
    }
    if constexpr (kMeanValues) {
      scale_rows(y_, shrink);
      add_mean(score, right + kOperandBytes, y_);
    }
  }

  // Scores to weights e^(x - max), with the sums; shrink: what earlier tiles' sums are to be
  // multiplied by.
  MONARCH_DEVICE void softmax(float (&score)[kTiles][4], int count, float (&shrink)[2]) {
    const float scale = kMeanKeys ? row_scale(args_, args_.scale_log2) : args_.scale_log2;
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float max = -INFINITY;
      MONARCH_UNROLL
      for (int n = 0; n < kTiles; ++n) {
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          float& x = score[n][2 * half + side];
          x = 8 * n + 2 * t_ + side < count ? x * scale : -INFINITY;
          max = fmaxf(max, x);
        }
      }
      max = fmaxf(max, device::shuffle_xor(max, 1));
      max = fmaxf(max, device::shuffle_xor(max, 2));
      max = fmaxf(max, max_[half]);
      const float grown = max - max_[half];
      shrink[half] = device::exp2(-grown);
      if constexpr (kMeanKeys) {  // no sum yet: nothing to shrink, and grown is infinite
        entropy_[half] = sum_[half] == 0 ? 0 : shrink[half] * (entropy_[half] - grown * sum_[half]);
      }
      sum_[half] *= shrink[half];
      max_[half] = max;
      MONARCH_UNROLL
      for (auto& tile : score) {
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          float& x = tile[2 * half + side];
          const float e = device::exp2(x - max);
          sum_[half] += e;
          if constexpr (kMeanKeys) {
            if (e != 0) entropy_[half] += e * (x - max);
          }
          x = e;
        }
      }
    }
  }

  MONARCH_DEVICE static void scale_rows(float (&mean)[kHeadDim / 8][4], const float (&by)[2]) {
    MONARCH_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      MONARCH_UNROLL
      for (int entry = 0; entry < 4; ++entry) mean[n][entry] *= by[entry / 2];
    }
  }

  MONARCH_DEVICE void add_mean(const float (&weight)[kTiles][4], std::uint32_t right,
                               float (&mean)[kHeadDim / 8][4]) const {
    MONARCH_UNROLL
    for (int n = 0; n < kTiles; n += 2) {
      const std::uint32_t e[4] = {device::pack<T>(weight[n][0], weight[n][1]),
                                  device::pack<T>(weight[n][2], weight[n][3]),
                                  device::pack<T>(weight[n + 1][0], weight[n + 1][1]),
                                  device::pack<T>(weight[n + 1][2], weight[n + 1][3])};
      MONARCH_UNROLL
      for (int depth = 0; depth < kDepth; ++depth) {
        std::uint32_t x[4];
        device::load_matrices_transposed(x, right + 8 * n * kPitch + 32 * depth);
        device::multiply<T>(mean[2 * depth], e, {x[0], x[1]});
        device::multiply<T>(mean[2 * depth + 1], e, {x[2], x[3]});
      }
    }
  }

  MONARCH_DEVICE void store() const {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float sum = sum_[half];
      sum += device::shuffle_xor(sum, 1);
      sum += device::shuffle_xor(sum, 2);
      float entropy = entropy_[half];
      entropy += device::shuffle_xor(entropy, 1);
      entropy += device::shuffle_xor(entropy, 2);
      const int query = first_query_ + 8 * half + g_;
      if (query > last_query_) continue;
      const float inverse = 1.0F / sum;
      const float lse = max_[half] + device::log2(sum);
      if constexpr (kMeanKeys) {
        if (t_ == 0) {
          args_.entropy[index_of(query)] = device::log2(sum) - entropy * inverse;
          if (args_.row_lse != nullptr) args_.row_lse[index_of(query)] = lse;
        }
        store_row(a_l_, half, inverse, args_.a_l + index_of(query) * args_.head_dim);
        if constexpr (kMeanValues) {
          store_row(y_, half, inverse, args_.y + index_of(query) * args_.head_dim);
        }
      } else {
        if (t_ == 0) store_lse(args_, unit_, query, lse);
        store_row(y_, half, inverse,
                  head_of(args_.out) + query_token(query) * args_.out.token_stride);
      }
    }
  }
  MONARCH_DEVICE void store_row(const float (&mean)[kHeadDim / 8][4], int half, float inverse,
                                std::uint16_t* to) const {
    MONARCH_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      const int d = 8 * n + 2 * t_;
      if (d >= args_.head_dim) continue;
      *reinterpret_cast<std::uint32_t*>(to + d) =
          device::pack<T>(mean[n][2 * half] * inverse, mean[n][2 * half + 1] * inverse);
    }
  }

  const StepArgs& args_;
  const int thread_;
  const int lane_;
  const int g_;  // lane = 4 g + t
  const int t_;
  int unit_ = 0;
  int row_ = 0;
  std::int64_t query_token_ = 0;
  std::int64_t key_token_ = 0;
  int first_query_ = 0;
  int last_query_ = 0;
  int num_keys_ = 0;
  std::uint32_t q_[kDepth][4];
  float a_l_[kHeadDim / 8][4] = {};
  float y_[kHeadDim / 8][4] = {};
  float max_[2];
  float sum_[2] = {};
  float entropy_[2] = {};
};

}  // namespace monarch::attention::cuda::sm80
